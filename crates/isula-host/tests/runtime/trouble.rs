//! What is asked wrongly, and what hangs.

use super::bench::*;
use isula_core::error::ErrorKind;
use isula_core::ports::Runtime;
use std::collections::BTreeMap;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_hangs_is_ended_in_time_and_leaves_nothing() {
    let bench = Bench::with("hang", BTreeMap::new(), Duration::from_millis(300));
    let hooks =
        serde_json::json!({"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "30"]}]});
    let launch = bench.launch(Wish { hooks: Some(hooks), ..Wish::default() }, &["true"]);
    let error = bench.runtimes.start(&launch).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
    assert!(!bench.state(&launch.id).exists());
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_honoured_is_refused_before_anything_is_made() {
    let bench = Bench::new("refuse");
    let mut launch = bench.launch(Wish::default(), &["true"]);
    let mut spec = serde_json::to_value(&*launch.spec).unwrap();
    spec["linux"]["intelRdt"] = serde_json::json!({"closID": "x"});
    launch.spec = std::sync::Arc::new(serde_json::from_value(spec).unwrap());
    for error in [bench.runtimes.verify(&launch), bench.runtimes.start(&launch).await.map(drop)] {
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("linux.intelRdt"), "{error}");
    }
    launch.runtime = "nosuch".into();
    let error = bench.runtimes.verify(&launch).unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string()),
        (ErrorKind::InvalidInput, "unknown runtime: nosuch".into())
    );
    assert!(!bench.state(&launch.id).exists());
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_gives_up_leaves_nothing() {
    let bench = Bench::new("cancel");
    let hooks =
        serde_json::json!({"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "30"]}]});
    let launch = bench.launch(Wish { hooks: Some(hooks), ..Wish::default() }, &["true"]);
    let started = tokio::time::timeout(Duration::from_millis(300), bench.runtimes.start(&launch));
    assert!(started.await.is_err());
    assert!(!bench.state(&launch.id).exists());
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_environment_is_no_problem_for_the_packet() {
    let bench = Bench::new("large");
    let mut launch = bench.launch(Wish::default(), &["sh", "-c", "echo ${#A0} ${#A19}"]);
    let mut spec = serde_json::to_value(&*launch.spec).unwrap();
    let env: Vec<_> = (0..20).map(|n| format!("A{n}={}", "x".repeat(50_000))).collect();
    spec["process"]["env"] = serde_json::json!(
        ["PATH=/bin"].into_iter().map(str::to_owned).chain(env).collect::<Vec<_>>()
    );
    launch.spec = std::sync::Arc::new(serde_json::from_value(spec).unwrap());
    assert_eq!(bench.run(&launch).await.code, 0);
    assert_eq!(bench.log(&launch).await, "50000 50000\n");
    bench.finish().await;
}
