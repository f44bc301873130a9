//! Can a domain that is written in Rust be used as modules are?

use factum::Error;
use factum::aggregate::Aggregate;
use factum::aggregate::given;
use factum::database::At;
use factum::database::ExecuteError;
use factum::database::ExpectedVersion;
use factum::database::Format;
use factum::database::Kind;
use factum::database::Version;
use serde::Deserialize;
use serde::Serialize;

use crate::fixture::append;
use crate::fixture::event;
use crate::fixture::memory;

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Counter {
    count: u64,
    is_closed: bool,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
enum Event {
    Counted { by: u64 },
    Closed,
}

enum Command {
    Count(u64),
    Close,
    Nothing,
}

#[derive(Debug, PartialEq)]
struct IsClosed;

impl Aggregate for Counter {
    const CATEGORY: &'static str = "counter";
    const SNAPSHOT_EVERY: u64 = 10;
    type Event = Event;
    type Command = Command;
    type Rejection = IsClosed;

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::Counted { by } => self.count += by,
            Event::Closed => self.is_closed = true,
        }
    }

    fn decide(&self, command: &Command) -> Result<Vec<Event>, IsClosed> {
        match command {
            Command::Nothing => Ok(Vec::new()),
            _ if self.is_closed => Err(IsClosed),
            Command::Count(by) => Ok(vec![Event::Counted { by: *by }]),
            Command::Close => Ok(vec![Event::Closed]),
        }
    }
}

#[test]
fn given_when_then() {
    let state = given::<Counter>([Event::Counted { by: 2 }]).when(&Command::Close).then([Event::Closed]);
    assert_eq!(state, Counter { count: 2, is_closed: true });
    given::<Counter>([Event::Closed]).when(&Command::Count(1)).then_rejected(&IsClosed);
    let wrong = || given::<Counter>([]).when(&Command::Count(1)).then([Event::Closed]);
    assert!(std::panic::catch_unwind(wrong).is_err());
    let wrong = || given::<Counter>([]).when(&Command::Count(1)).then_rejected(&IsClosed);
    assert!(std::panic::catch_unwind(wrong).is_err());
}

#[tokio::test]
async fn rust_types_are_aggregates_too() {
    let database = memory().await;
    let counters = database.register::<Counter>().unwrap();
    assert_eq!(counters.load("1").await.unwrap().version, Version::ZERO);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..25 {
        let counters = counters.clone();
        tasks.spawn(async move { counters.execute("1", &Command::Count(2)).await.map(drop) });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap().unwrap();
    }
    let loaded = counters.load("1").await.unwrap();
    assert_eq!((loaded.version.get(), loaded.state), (25, Counter { count: 50, is_closed: false }));
    assert_eq!(counters.at("1", At::Version(Version::new(3))).await.unwrap().state.count, 6);
    assert_eq!(counters.execute("1", &Command::Nothing).await.unwrap().version.get(), 25);
    counters.execute("1", &Command::Close).await.unwrap();
    assert!(matches!(counters.execute("1", &Command::Count(1)).await, Err(ExecuteError::Rejected(IsClosed))));
    let read = database.aggregate("counter", "1", At::Head).await.unwrap().0;
    assert_eq!(&*read.state, b"{\"count\":50,\"is_closed\":true}");
    let (steps, _) = database.aggregate_history("counter", "1", Some(Version::new(26)), 10, 1000).await.unwrap();
    assert_eq!(&*steps[0].patch, b"[{\"op\":\"replace\",\"path\":\"/is_closed\",\"value\":true}]");

    // What the type does not know is an error that names it, and the category is the type's alone.
    append(&database, "counter-2", ExpectedVersion::Any, vec![event(1, "Other")]).await.unwrap();
    let unknown = counters.load("2").await.map(|loaded| loaded.version);
    assert!(matches!(&unknown, Err(Error::Script(fault)) if fault.version == Some(1) && fault.message.contains("Other")), "{unknown:?}");
    let taken = database.define(Kind::Aggregate, "counter", Format::Json, "{\"evolve\":\"merge\"}", false).await;
    assert!(matches!(taken, Err(Error::Invalid { .. })), "{taken:?}");
    assert!(database.register::<Counter>().is_ok(), "the same type may ask again");
    database.close().await.unwrap();
}
