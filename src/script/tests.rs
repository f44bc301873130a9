//! What a script can do, and what it cannot do to anyone else.

mod attack;
mod project;
mod purity;
mod speed;
mod threads;
mod values;

use std::time::Duration;

use super::*;

fn sandbox() -> Sandbox {
    // Bounds that do not depend on how busy the machine is: the engine's own count ends a call.
    Sandbox::new(Options { threads: 1, wall: Duration::from_secs(60), interrupts_max: 200, ..Options::default() })
}

fn module(source: &str) -> Arc<Module> {
    Arc::new(Module::new("declaration.js", source))
}

fn json(texts: &[&str]) -> Vec<Bytes> {
    texts.iter().map(|text| Bytes::copy_from_slice(text.as_bytes())).collect()
}

const DECLARATION: &str = r#"
export const initial = { status: "new", amount: 0, rejections: 0 };
export const snapshotEvery = 100;
export const evolve = {
  DeclarationSubmitted: (state, event) => ({ ...state, status: "submitted", amount: event.data.amount ?? state.amount }),
  DeclarationRejected:  (state, event) => ({ ...state, status: "rejected", rejections: state.rejections + 1 }),
  PaymentHandled:       (state, event) => ({ ...state, status: "paid", paid_at: event.occurred_at }),
};
export const decide = {
  reject: (state, command) => {
    if (state.status === "paid") throw new Rejection("already-paid", "a paid declaration cannot be rejected");
    return [{ type: "DeclarationRejected", data: { by: command.by, reason: command.reason } }];
  },
};
"#;

#[tokio::test]
async fn the_example_works() {
    let sandbox = sandbox();
    let module = module(DECLARATION);
    let exports = sandbox.inspect(&module).await.unwrap();
    assert_eq!(exports.snapshot_every, Some(100));
    assert_eq!(exports.decide, ["reject"]);
    let events = json(&[
        r#"{"type":"DeclarationSubmitted","data":{"amount":5}}"#,
        r#"{"type":"Other","data":{}}"#,
        r#"{"type":"DeclarationRejected","data":{}}"#,
    ]);
    let folded = sandbox.fold(&module, None, events, true).await.unwrap();
    assert_eq!(folded.state, r#"{"status":"rejected","amount":5,"rejections":1}"#);
    assert_eq!(folded.steps.len(), 3);
    let decided = sandbox.decide(&module, "reject", Some(folded.state), Bytes::from_static(br#"{"by":"x"}"#)).await.unwrap();
    assert_eq!(decided, Decision::Events(json(&[r#"{"type":"DeclarationRejected","data":{"by":"x"}}"#])));
    let rejected =
        sandbox.decide(&module, "reject", Some(Bytes::from_static(br#"{"status":"paid"}"#)), Bytes::from_static(b"{}")).await.unwrap();
    assert_eq!(
        rejected,
        Decision::Rejected { code: "already-paid".to_owned(), message: "a paid declaration cannot be rejected".to_owned() }
    );
}
