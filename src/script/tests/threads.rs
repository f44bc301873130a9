//! The threads: they start late, are replaced when they fail or hang, and end with the sandbox.

use std::sync::mpsc;

use super::*;

#[tokio::test]
async fn threads_start_with_the_first_call_and_end_with_the_sandbox() {
    let sandbox = sandbox();
    let pulse = sandbox.pool.pulse();
    assert_eq!((pulse.strong_count(), sandbox.pool.counts()), (1, (0, 0)));
    sandbox.inspect(&module("")).await.unwrap();
    assert_eq!((pulse.strong_count(), sandbox.pool.counts()), (3, (1, 0)), "one thread for calls, one that watches");
    let other = sandbox.clone();
    drop(sandbox);
    other.inspect(&module("")).await.unwrap();
    drop(other);
    while pulse.strong_count() > 0 {
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn a_thread_that_panics_answers_and_goes_on() {
    let sandbox = sandbox();
    let module = module(DECLARATION);
    assert_eq!(sandbox.pool.run(&module, Work::Panic).await.unwrap_err().kind, Kind::Died);
    assert_eq!(sandbox.fold(&module, None, Vec::new(), false).await.unwrap().steps.len(), 0);
    assert_eq!(sandbox.pool.counts(), (1, 0));
}

#[tokio::test]
async fn a_call_that_does_not_come_back_is_given_up_and_its_module_refused_until_it_does() {
    let sandbox = Sandbox::new(Options { threads: 1, wall: Duration::from_millis(1), ..Options::default() });
    let hanging = module("export const initial = 1;");
    let (release, until) = mpsc::channel();
    let error = sandbox.pool.run(&hanging, Work::Hang(parking_lot::Mutex::new(until))).await.unwrap_err();
    assert_eq!(error.kind, Kind::Time);
    assert_eq!(sandbox.pool.counts(), (1, 1), "another thread took its place");
    assert_eq!(sandbox.inspect(&hanging).await.unwrap_err().message, "an earlier call of this module has not come back yet");
    // Other modules are served: it died, or was too slow for so short a time, but it was not refused.
    assert_ne!(sandbox.pool.run(&module(""), Work::Panic).await.unwrap_err().kind, Kind::Busy);
    drop::<mpsc::Sender<()>>(release);
    while sandbox.pool.counts() != (1, 0) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_full_queue_refuses() {
    let sandbox = Sandbox::new(Options { threads: 1, queue_max: 1, wall: Duration::from_secs(60), ..Options::default() });
    let module = module("");
    let (release, until) = mpsc::channel();
    let call = |work| {
        let (sandbox, module) = (sandbox.clone(), Arc::clone(&module));
        tokio::spawn(async move { sandbox.pool.run(&module, work).await })
    };
    let running = call(Work::Hang(parking_lot::Mutex::new(until)));
    while sandbox.pool.running() == 0 {
        tokio::task::yield_now().await;
    }
    let waiting = call(Work::Inspect);
    tokio::task::yield_now().await;
    assert_eq!(sandbox.inspect(&module).await.unwrap_err().kind, Kind::Busy);
    drop::<mpsc::Sender<()>>(release);
    assert!(running.await.unwrap().is_ok());
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test]
async fn calls_are_refused_when_every_thread_is_stuck() {
    let sandbox = Sandbox::new(Options { threads: 1, wall: Duration::from_millis(1), ..Options::default() });
    let mut releases: Vec<mpsc::Sender<()>> = Vec::new();
    for number in 0..2 {
        let (release, until) = mpsc::channel();
        let hanging = module(&format!("export const initial = {number};"));
        let error = sandbox.pool.run(&hanging, Work::Hang(parking_lot::Mutex::new(until))).await.unwrap_err();
        assert_eq!(error.kind, Kind::Time);
        releases.push(release);
    }
    assert_eq!(sandbox.pool.counts(), (0, 2));
    assert_eq!(sandbox.pool.run(&module(""), Work::Panic).await.unwrap_err().kind, Kind::Busy);
    drop(releases);
    while sandbox.pool.counts() != (1, 0) {
        tokio::task::yield_now().await;
    }
    // Served again: it died, or was too slow for so short a time, but it was not refused.
    assert_ne!(sandbox.pool.run(&module(""), Work::Panic).await.unwrap_err().kind, Kind::Busy);
}
