//! Who a user means.

use isula_core::{
    error::ErrorKind,
    id::{ContainerId, Name},
    testing::conformance,
};
use isula_engine::container::{ListOptions, RemoveOptions};

use crate::support::{engine, request, state, world};

fn id_of(start: &str) -> ContainerId {
    ContainerId::try_from(format!("{start:0<64}")).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_container_is_meant_by_id_name_or_unique_prefix() {
    let world = world();
    // The last one's name is the beginning of the first one's id.
    for (start, name) in [("abc1", "one"), ("abc2", "two"), ("abd0", "three"), ("ffff", "abc1")] {
        let id = id_of(start);
        let mut container = conformance::container(&id);
        container.name = Name::try_from(name.to_owned()).unwrap();
        world.records.put(container);
    }
    let engine = engine(&world);
    engine.recover().await.unwrap();
    let full = id_of("abc2");
    for (query, found) in [
        (full.as_str(), Ok("two")),
        ("one", Ok("one")),
        ("/one", Ok("one")),
        ("abd", Ok("three")),
        ("abc2", Ok("two")),
        ("abc1", Ok("abc1")),
        ("abc10", Ok("one")),
        ("f", Ok("abc1")),
        ("abc", Err("multiple IDs found with provided prefix: abc")),
        ("ab", Err("multiple IDs found with provided prefix: ab")),
        ("ABD", Err("no such container: ABD")),
        ("", Err("no such container: ")),
        ("four", Err("no such container: four")),
        ("abd1", Err("no such container: abd1")),
        ("../one", Err("no such container: ../one")),
    ] {
        let result = engine.inspect(query).await;
        let result = result.map(|facts| facts.container.name.to_string());
        let result = result.map_err(|error| error.to_string());
        assert_eq!(result, found.map(str::to_owned).map_err(str::to_owned), "{query}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_belongs_to_one_container_until_it_is_gone() {
    let world = world();
    let engine = engine(&world);
    let first = engine.create(request("web", "sleep")).await.unwrap();
    let taken = engine.create(request("web", "sleep")).await.unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
    assert_eq!(
        taken.to_string(),
        format!("the container name \"web\" is already in use by container {}", first.id)
    );
    assert_eq!(world.records.count(), 1);

    engine.create(request("db", "sleep")).await.unwrap();
    assert_eq!(engine.rename("db", "web").await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(engine.rename("db", "a/b").await.unwrap_err().kind(), ErrorKind::InvalidInput);
    engine.rename("web", "old").await.unwrap();
    engine.rename("db", "web").await.unwrap();
    assert_eq!((state(&engine, "old"), state(&engine, "db")), ("created", "gone"));
    let renamed = world.records.get(&first.id).unwrap();
    assert_eq!(renamed.name.as_str(), "old");

    engine.remove("web", RemoveOptions::default()).await.unwrap();
    engine.create(request("web", "sleep")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_container_without_a_name_is_named_by_its_id() {
    let world = world();
    let engine = engine(&world);
    let mut new = request("x", "sleep");
    new.name = None;
    let created = engine.create(new).await.unwrap();
    let container = engine.inspect(created.id.short()).await.unwrap().container;
    assert_eq!(container.name.as_str(), created.id.as_str());
    assert_eq!(container.config.hostname, created.id.short());
}

#[tokio::test(start_paused = true)]
async fn lists_are_filtered_and_newest_first() {
    let world = world();
    let engine = engine(&world);
    for name in ["a", "b", "c"] {
        engine.create(request(name, "sleep")).await.unwrap();
    }
    engine.start("b").await.unwrap();
    engine.run(request("d", "exit 3")).await.unwrap();
    engine.wait("d", isula_engine::container::Condition::NotRunning).await.unwrap();
    let list = |all, filters: &[&str], last| {
        let filters = filters.iter().map(|text| (*text).to_owned()).collect();
        let listed = engine.list(&ListOptions { all, filters, last }).unwrap();
        listed.iter().map(|one| one.container.name.to_string()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(list(false, &[], None), "b");
    assert_eq!(list(true, &[], None), "d c b a");
    assert_eq!(list(false, &[], Some(2)), "d c");
    assert_eq!(list(false, &["status=created"], None), "c a");
    assert_eq!(list(false, &["status=created", "status=exited"], None), "d c a");
    assert_eq!(list(false, &["exited=3"], None), "d");
    assert_eq!(list(true, &["before=c"], None), "b a");
    assert_eq!(list(true, &["since=b"], None), "d c");
    assert_eq!(list(true, &["ancestor=busybox", "name=c"], None), "c");
    assert_eq!(list(true, &["ancestor=nosuch"], None), "");
    assert_eq!(list(true, &["network=none", "label=x"], None), "");
    let bad = ListOptions { filters: vec!["colour=red".to_owned()], ..ListOptions::default() };
    assert_eq!(engine.list(&bad).unwrap_err().kind(), ErrorKind::InvalidInput);
}
