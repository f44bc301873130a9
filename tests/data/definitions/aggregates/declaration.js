// A declaration of travel costs, from its first event to its payment. The category is the file's name.

export const initial = { status: "new", amount: 0, approvals: 0, rejections: 0 };

export const snapshotEvery = 20;

export const evolve = {
  DeclarationSaved: (state, event) => ({ ...state, status: "saved", amount: event.data.amount ?? state.amount }),
  DeclarationSubmitted: (state, event) => ({ ...state, status: "submitted", amount: event.data.amount ?? state.amount, approvals: 0 }),
  DeclarationApproved: (state) => ({ ...state, status: "approved", approvals: state.approvals + 1 }),
  DeclarationFinalApproved: (state) => ({ ...state, status: "final-approved", approvals: state.approvals + 1 }),
  DeclarationRejected: (state, event) => ({ ...state, status: "rejected", rejections: state.rejections + 1, rejected_by: event.data.by }),
  PaymentRequested: (state) => ({ ...state, status: "payment-requested" }),
  PaymentHandled: (state, event) => ({ ...state, status: "paid", amount: event.data.amount ?? state.amount, paid_at: event.occurred_at }),
};

export const decide = {
  reject: (state, command) => {
    if (state.status === "new") throw new Rejection("not-submitted", "there is nothing to reject yet");
    if (state.status === "paid") throw new Rejection("already-paid", "a paid declaration cannot be rejected");
    if (!command.reason) throw new Rejection("no-reason", "whoever rejects says why");
    return [{ type: "DeclarationRejected", data: { by: command.by ?? "UNKNOWN", reason: command.reason } }];
  },
};
