//! How does somebody who writes the domain in Rust use aggregates? [`Aggregate`] says what a module's `evolve` and `decide` say;
//! [`crate::Database::register`] puts it in force for its category in this process.

use std::sync::Arc;

use bytes::Bytes;
use factum_storage::RecordedEvent;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A state, the events that change it, and the commands that lead to events.
///
/// `Event` is an enum with `#[serde(tag = "type", content = "data")]`: its variants' names are the types of the stored events, and what is
/// in a variant is the event's data.
///
/// ```
/// use factum::aggregate::Aggregate;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Account { balance: i64 }
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// #[serde(tag = "type", content = "data")]
/// enum Event { Deposited { amount: i64 }, Withdrawn { amount: i64 } }
///
/// enum Command { Deposit(i64), Withdraw(i64) }
///
/// #[derive(Debug, PartialEq)]
/// struct TooLittle;
///
/// impl Aggregate for Account {
///     const CATEGORY: &'static str = "account";
///     type Event = Event;
///     type Command = Command;
///     type Rejection = TooLittle;
///
///     fn evolve(&mut self, event: &Event) {
///         match event {
///             Event::Deposited { amount } => self.balance += amount,
///             Event::Withdrawn { amount } => self.balance -= amount,
///         }
///     }
///
///     fn decide(&self, command: &Command) -> Result<Vec<Event>, TooLittle> {
///         match *command {
///             Command::Deposit(amount) => Ok(vec![Event::Deposited { amount }]),
///             Command::Withdraw(amount) if amount > self.balance => Err(TooLittle),
///             Command::Withdraw(amount) => Ok(vec![Event::Withdrawn { amount }]),
///         }
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use factum::aggregate::given;
/// given::<Account>([Event::Deposited { amount: 5 }]).when(&Command::Withdraw(3)).then([Event::Withdrawn { amount: 3 }]);
/// given::<Account>([]).when(&Command::Withdraw(3)).then_rejected(&TooLittle);
///
/// let database = factum::Database::in_memory().await?;
/// let accounts = database.register::<Account>()?;
/// accounts.execute("42", &Command::Deposit(10)).await.expect("nothing speaks against it");
/// assert_eq!(accounts.load("42").await?.state.balance, 10);
/// # database.close().await?;
/// # Ok(())
/// # }
/// ```
pub trait Aggregate: Default + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// What its streams' names begin with, before the first `-`.
    const CATEGORY: &'static str;
    /// Raised whenever `evolve` makes another state of the same events, or the state's fields change: states that were kept under
    /// another revision are not taken.
    const REVISION: u32 = 1;
    /// After how many events a state is kept in the store.
    const SNAPSHOT_EVERY: u64 = 100;
    /// What can have happened.
    type Event: Serialize + DeserializeOwned;
    /// What it can be told to do.
    type Command;
    /// Why it may say no.
    type Rejection;

    /// Takes an event that has happened.
    fn evolve(&mut self, event: &Self::Event);

    /// Says what a command leads to in this state.
    ///
    /// # Errors
    ///
    /// Why it leads to nothing.
    fn decide(&self, command: &Self::Command) -> Result<Vec<Self::Event>, Self::Rejection>;
}

/// Applies recorded events to a state in JSON; with `every_step` it gives the state after each.
pub(super) type Fold = dyn Fn(Option<&[u8]>, &[RecordedEvent], bool) -> Result<(Bytes, Vec<Bytes>), Fault> + Send + Sync;

/// Why a fold in Rust did not come to its end.
#[derive(Debug)]
pub(super) struct Fault {
    /// At which of the events; `None`: at the state that it began with.
    pub(super) at: Option<usize>,
    pub(super) message: String,
}

/// The fold of an aggregate's events, without its type.
pub(super) fn fold_of<A: Aggregate>() -> Arc<Fold> {
    Arc::new(|state, events, every_step| {
        let mut state: A = match state {
            Some(json) => serde_json::from_slice(json).map_err(|error| Fault { at: None, message: error.to_string() })?,
            None => A::default(),
        };
        let written = |state: &A, at| serde_json::to_vec(state).map(Bytes::from).map_err(|error| Fault { at, message: error.to_string() });
        let mut steps = Vec::new();
        for (index, event) in events.iter().enumerate() {
            let decoded = decode::<A::Event>(event).map_err(|message| Fault { at: Some(index), message })?;
            state.evolve(&decoded);
            if every_step {
                steps.push(written(&state, Some(index))?);
            }
        }
        Ok((written(&state, events.len().checked_sub(1))?, steps))
    })
}

/// What the states of a type rest on, besides its code: that is what [`Aggregate::REVISION`] stands for.
pub(super) fn hash_of<A: Aggregate>() -> [u8; 32] {
    *blake3::hash(format!("rust\0{}\0{}\0{}", A::CATEGORY, std::any::type_name::<A>(), A::REVISION).as_bytes()).as_bytes()
}

/// Reads an event as a variant of `E`.
fn decode<E: DeserializeOwned>(event: &RecordedEvent) -> Result<E, String> {
    let data: Value =
        if event.data().is_empty() { Value::Null } else { serde_json::from_slice(event.data()).map_err(|error| error.to_string())? };
    let tagged = serde_json::json!({ "type": event.event_type(), "data": data });
    serde_json::from_value(tagged).map_err(|error| error.to_string())
}

/// The type and the data of an event to be stored.
pub(crate) fn encode<E: Serialize>(event: &E) -> Result<(String, Bytes), String> {
    let written = serde_json::to_value(event).map_err(|error| error.to_string())?;
    let Value::Object(mut members) = written else { return Err(NOT_TAGGED.to_owned()) };
    let data = members.remove("data").unwrap_or(Value::Null);
    match (members.remove("type"), members.is_empty()) {
        (Some(Value::String(event_type)), true) => Ok((event_type, data.to_string().into())),
        _ => Err(NOT_TAGGED.to_owned()),
    }
}

const NOT_TAGGED: &str = "the event is not an enum with #[serde(tag = \"type\", content = \"data\")]";

/// The beginning of a test: what has happened.
pub fn given<A: Aggregate>(events: impl IntoIterator<Item = A::Event>) -> Given<A> {
    let mut state = A::default();
    for event in events {
        state.evolve(&event);
    }
    Given { state }
}

/// The state that the events of a test have made.
pub struct Given<A> {
    state: A,
}

/// What a command came to in a test.
#[must_use = "a test that looks at nothing can't fail"]
pub struct Decided<A: Aggregate> {
    state: A,
    outcome: Result<Vec<A::Event>, A::Rejection>,
}

impl<A: Aggregate> Given<A> {
    /// The state itself.
    #[must_use]
    pub fn state(&self) -> &A {
        &self.state
    }

    /// Tells the aggregate to do something.
    pub fn when(self, command: &A::Command) -> Decided<A> {
        let outcome = self.state.decide(command);
        Decided { state: self.state, outcome }
    }
}

impl<A: Aggregate> Decided<A> {
    /// Checks that the command led to these events, and returns the state after them.
    ///
    /// # Panics
    ///
    /// If it did not.
    #[track_caller]
    pub fn then(mut self, events: impl IntoIterator<Item = A::Event>) -> A
    where
        A::Event: PartialEq + std::fmt::Debug,
        A::Rejection: std::fmt::Debug,
    {
        let expected: Vec<_> = events.into_iter().collect();
        match self.outcome {
            Ok(decided) => {
                assert_eq!(decided, expected, "the command led to other events");
                decided.iter().for_each(|event| self.state.evolve(event));
            }
            Err(rejection) => panic!("the command was rejected: {rejection:?}"),
        }
        self.state
    }

    /// Checks that the command was rejected for this reason.
    ///
    /// # Panics
    ///
    /// If it was not.
    #[track_caller]
    pub fn then_rejected(self, expected: &A::Rejection)
    where
        A::Event: std::fmt::Debug,
        A::Rejection: PartialEq + std::fmt::Debug,
    {
        match self.outcome {
            Ok(events) => panic!("the command was not rejected but led to {events:?}"),
            Err(rejection) => assert_eq!(&rejection, expected, "the command was rejected for another reason"),
        }
    }
}
