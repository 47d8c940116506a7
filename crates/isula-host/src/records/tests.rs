//! The records against crashes, damage, a full disk and many callers at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, OpenOptions},
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use isula_core::{
    container::{Config, Container, Exit, HostConfig, State},
    error::ErrorKind,
    id::{ContainerId, Name},
    ports::{ContainerFiles, Durability, LaterFiles, Records, Restored, Then},
    testing::conformance,
};
use tempfile::TempDir;

use super::{FAULT_POINTS, JournaledRecords, document::tests::full, locked};

/// A directory in memory: syncing costs nothing there.
fn memory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap()
}

fn container(number: u8) -> Container {
    Container {
        id: ContainerId::from_random([number; 32]),
        name: Name::try_from(format!("c{number}")).unwrap(),
        state: State::Created,
        config: Config { cmd: vec!["sh".to_owned()], ..Config::default() },
        host: HostConfig { runtime: "lcr".to_owned(), ..HostConfig::default() },
        network: None,
        ..full()
    }
}

fn stopped(container: &Container, code: i32) -> Container {
    let at = "2021-01-01T00:00:00Z".parse().unwrap();
    let exit = Exit { code, oom_killed: false, at, error: None };
    Container { state: State::Stopped(exit), ..container.clone() }
}

fn files() -> ContainerFiles {
    ContainerFiles {
        config_json: b"{}\n".to_vec(),
        hostname: b"web\n".to_vec(),
        hosts: b"127.0.0.1 localhost\n".to_vec(),
        resolv_conf: b"nameserver 192.0.2.1\n".to_vec(),
        oci_hooks: b"null\n".to_vec(),
        seccomp: b"null\n".to_vec(),
    }
}

/// They are made when they are written.
fn later(files: ContainerFiles) -> LaterFiles {
    Arc::new(move || files.clone())
}

type Known = BTreeMap<ContainerId, Container>;

fn known(containers: impl IntoIterator<Item = Container>) -> Known {
    containers.into_iter().map(|container| (container.id.clone(), container)).collect()
}

async fn load(root: &Path) -> (Known, Restored) {
    load_sized(root, super::HALF).await
}

async fn load_sized(root: &Path, half: usize) -> (Known, Restored) {
    let records = JournaledRecords::open_sized(root, half).unwrap();
    let mut restored = records.load().await.unwrap();
    let containers = std::mem::take(&mut restored.containers);
    (known(containers.iter().map(|one| Container::clone(one))), restored)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn a_created_container_has_all_its_files_with_their_modes() {
    let root = memory();
    let records = JournaledRecords::open(root.path()).unwrap();
    let web = container(1);
    records.create(&web, later(files())).await.unwrap();
    let directory = root.path().join("engines/lcr").join(web.id.as_str());
    assert_eq!(records.directory(&web.id, "lcr"), directory);
    assert_eq!(mode(&directory), 0o750);
    // What a start needs is there when it asks for it, the rest a little later.
    records.provide(&web.id).await.unwrap();
    assert_eq!(fs::read(directory.join("config.json")).unwrap(), files().config_json);
    let log = directory.join("console.log");
    fs::write(&log, b"kept").unwrap();
    records.provide(&web.id).await.unwrap();
    records.shared.catch_up().await;
    assert_eq!(fs::read(&log).unwrap(), b"kept");
    let found: BTreeMap<String, u32> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), mode(&entry.path())))
        .collect();
    let wanted = [
        ("config.json", 0o640),
        ("config.v2.json", 0o640),
        ("console.log", 0o640),
        ("hostconfig.json", 0o640),
        ("hostname", 0o644),
        ("hosts", 0o644),
        ("mounts", 0o700),
        ("ocihooks.json", 0o640),
        ("resolv.conf", 0o644),
        ("seccomp", 0o640),
    ];
    assert_eq!(found, wanted.map(|(name, mode)| (name.to_owned(), mode)).into());
    assert_eq!(fs::read(directory.join("hosts")).unwrap(), files().hosts);
    drop(records);
    assert_eq!(load(root.path()).await.0, known([web]));
}

#[tokio::test]
async fn the_files_of_a_new_container_follow_without_being_asked_for() {
    let root = memory();
    let records = JournaledRecords::open(root.path()).unwrap();
    let (one, two) = (container(1), container(2));
    for container in [&one, &two] {
        records.create(container, later(files())).await.unwrap();
    }
    records.remove(&two.id, "lcr", Durability::Synced).await.unwrap();
    records.close().await;
    let directory = |container: &Container| records.directory(&container.id, "lcr");
    for (name, bytes) in [("hosts", files().hosts), ("console.log", Vec::new())] {
        assert_eq!(fs::read(directory(&one).join(name)).unwrap(), bytes, "{name}");
    }
    assert!(directory(&one).join("config.v2.json").exists());
    assert!(!directory(&two).exists());
    assert!(locked(&records.shared.stale).files.is_empty());
}

#[tokio::test]
async fn files_that_could_not_be_written_are_written_by_the_next_start() {
    let root = memory();
    let records = JournaledRecords::open(root.path()).unwrap();
    let web = container(1);
    records.create(&web, later(files())).await.unwrap();
    // A directory in the place of a file.
    let hosts = records.directory(&web.id, "lcr").join("hosts");
    fs::create_dir(&hosts).unwrap();
    records.shared.catch_up().await;
    records.provide(&web.id).await.unwrap_err();
    fs::remove_dir(&hosts).unwrap();
    records.provide(&web.id).await.unwrap();
    assert_eq!(fs::read(&hosts).unwrap(), files().hosts);
}

#[tokio::test]
async fn many_new_containers_do_not_wait_for_their_files_in_memory() {
    let root = memory();
    let records = JournaledRecords::open(root.path()).unwrap();
    for number in 0..=u8::MAX {
        records.create(&container(number), later(files())).await.unwrap();
        assert!(locked(&records.shared.stale).files.len() <= super::WAITING);
    }
}

#[tokio::test]
async fn the_records_conform_after_a_kill() {
    let root = memory();
    conformance::records(async || {
        Arc::new(JournaledRecords::open(root.path()).unwrap()) as Arc<dyn Records>
    })
    .await;
}

#[tokio::test]
async fn the_records_conform_after_a_power_cut_that_only_the_journal_survived() {
    let root = memory();
    conformance::records(async || {
        let engines = root.path().join("engines");
        if engines.exists() {
            fs::remove_dir_all(engines).unwrap();
        }
        Arc::new(JournaledRecords::open(root.path()).unwrap()) as Arc<dyn Records>
    })
    .await;
}

#[tokio::test]
async fn an_id_is_taken_only_once() {
    let root = memory();
    let records = JournaledRecords::open(root.path()).unwrap();
    records.create(&container(1), later(files())).await.unwrap();
    let again = records.create(&container(1), later(files())).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    assert_eq!(load(root.path()).await.0, known([container(1)]));
}

#[tokio::test]
async fn a_runtime_that_is_no_name_is_refused() {
    let root = memory();
    let records = JournaledRecords::open(root.path()).unwrap();
    let mut bad = container(1);
    bad.host.runtime = "../../x".to_owned();
    let refused = records.create(&bad, later(files())).await.unwrap_err();
    assert!(isula_core::error::chain(&refused).contains("invalid name"), "{refused}");
    assert!(records.remove(&bad.id, "../x", Durability::Synced).await.is_err());
}

#[tokio::test]
async fn a_save_reaches_the_plain_files_and_a_container_that_is_gone_can_not_be_saved() {
    let root = memory();
    let records = JournaledRecords::open(root.path()).unwrap();
    let web = container(1);
    let missing = records.save(&web, Durability::Synced).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    records.create(&web, later(files())).await.unwrap();
    let ended = stopped(&web, 37);
    records.save(&ended, Durability::Written).await.unwrap();
    records.shared.catch_up().await;
    let path = records.directory(&web.id, "lcr").join("config.v2.json");
    assert!(fs::read_to_string(&path).unwrap().contains("\"ExitCode\": 37"));
    assert_eq!(mode(&path), 0o640);
    records.remove(&web.id, "lcr", Durability::Synced).await.unwrap();
    records.remove(&web.id, "lcr", Durability::Synced).await.unwrap();
    assert_eq!(
        records.save(&ended, Durability::Synced).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(load(root.path()).await.0, known([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_a_removal_is_done_once_it_is_safe_and_before_the_answer() {
    let root = memory();
    let records = JournaledRecords::open(root.path()).unwrap();
    let done = Arc::new(Mutex::new(BTreeSet::new()));
    let then = |number: u8| -> Then {
        let done = Arc::clone(&done);
        Box::new(move || assert!(done.lock().unwrap().insert(number), "once"))
    };
    // The last of them is not there; of those that go together, most wait for another's sync.
    let mut removals = Vec::new();
    for number in 0..20 {
        if number < 19 {
            records.create(&container(number), later(files())).await.unwrap();
        }
        let (records, then) = (records.clone(), then(number));
        let durability = [Durability::Synced, Durability::Written][usize::from(number % 5 == 0)];
        removals.push(async move {
            let id = container(number).id;
            records.remove_then(&id, "lcr", durability, then).await.map(|()| number)
        });
    }
    let removals: Vec<_> = removals.into_iter().map(tokio::spawn).collect();
    for removal in removals {
        let number = removal.await.unwrap().unwrap();
        assert!(done.lock().unwrap().contains(&number), "{number}");
    }
    let id = container(20).id;
    let refused = records.remove_then(&id, "../x", Durability::Synced, then(20));
    assert!(refused.await.is_err());
    assert!(!done.lock().unwrap().contains(&20));
    assert_eq!(load(root.path()).await.0, known([]));
}

#[tokio::test]
async fn refreshing_replaces_what_differs_and_keeps_the_rest() {
    let root = memory();
    let records = JournaledRecords::open(root.path()).unwrap();
    let web = container(1);
    records.create(&web, later(files())).await.unwrap();
    records.shared.catch_up().await;
    let directory = records.directory(&web.id, "lcr");
    fs::write(directory.join("console.log"), b"kept").unwrap();
    fs::remove_file(directory.join("hosts")).unwrap();
    fs::write(directory.join("config.json"), b"").unwrap();
    let mut wanted = files();
    wanted.hostname = b"other\n".to_vec();
    records.refresh(&web.id, "lcr", &wanted).await.unwrap();
    for (name, bytes) in [
        ("console.log", &b"kept"[..]),
        ("hosts", &wanted.hosts),
        ("config.json", &wanted.config_json),
        ("hostname", &wanted.hostname),
    ] {
        assert_eq!(fs::read(directory.join(name)).unwrap(), bytes, "{name}");
    }
    assert_eq!(mode(&directory.join("hosts")), 0o644);
    assert!(records.refresh(&container(2).id, "lcr", &wanted).await.is_err());
}

/// Power is cut at every byte that the journal ever wrote, and nothing else reached the disk.
#[tokio::test]
async fn with_the_journal_cut_at_any_byte_exactly_the_whole_records_count() {
    const HALF: usize = 16 << 10;
    let root = memory();
    let records = JournaledRecords::open_sized(root.path(), HALF).unwrap();
    let (one, two) = (container(1), container(2));
    let end = |records: &JournaledRecords| records.shared.journal.used();
    let mut steps = vec![(end(&records), known([]))];
    records.create(&one, later(files())).await.unwrap();
    steps.push((end(&records), known([one.clone()])));
    records.save(&stopped(&one, 1), Durability::Synced).await.unwrap();
    steps.push((end(&records), known([stopped(&one, 1)])));
    records.create(&two, later(files())).await.unwrap();
    steps.push((end(&records), known([stopped(&one, 1), two.clone()])));
    records.remove(&one.id, "lcr", Durability::Synced).await.unwrap();
    steps.push((end(&records), known([two.clone()])));
    let journal = fs::read(root.path().join("journal")).unwrap();
    for cut in 0..=end(&records) {
        let crashed = memory();
        let mut left = journal.clone();
        left[cut..].fill(0);
        fs::write(crashed.path().join("journal"), left).unwrap();
        let wanted = steps.iter().rev().find(|(end, _)| *end <= cut).unwrap();
        let (found, restored) = load_sized(crashed.path(), HALF).await;
        assert_eq!(found.keys().collect::<Vec<_>>(), wanted.1.keys().collect::<Vec<_>>(), "{cut}");
        assert!(found == wanted.1, "cut at {cut}");
        assert_eq!(restored.quarantined, []);
    }
}

/// The daemon is killed at each step; what it had acknowledged must be there afterwards.
#[test]
fn a_daemon_killed_at_any_step_loses_nothing_that_it_acknowledged() {
    for point in FAULT_POINTS {
        let root = memory();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "records::tests::victim", "--ignored", "--nocapture"])
            .env("ISULAD_FAULT", point)
            .env("VICTIM_ROOT", root.path())
            .stderr(Stdio::null())
            .output()
            .unwrap();
        assert!(!child.status.success(), "{point} was not reached");
        let output = String::from_utf8(child.stdout).unwrap();
        let acknowledged: Vec<&str> =
            output.lines().filter_map(|line| line.split("done ").nth(1)).collect();
        check(point, root.path(), &acknowledged);
    }
}

fn check(point: &str, root: &Path, acknowledged: &[&str]) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (found, restored) = runtime.block_on(load_sized(root, VICTIM_HALF));
    assert_eq!(restored.quarantined, [], "{point}");
    let done = |step: &str| acknowledged.contains(&step);
    let one = found.get(&container(1).id);
    if done("remove") {
        assert_eq!(one, None, "{point}");
    } else if done("stop") {
        // The removal may have gone through without an answer.
        assert!(one.is_none_or(|one| *one == stopped(&container(1), 5)), "{point}");
        assert!(
            one.is_some()
                || point.starts_with("records.gone")
                || point.starts_with("records.removed")
        );
    } else if done("create") {
        assert!(one.is_some(), "{point}");
    }
    assert!(!done("other") || found.contains_key(&container(2).id), "{point}");
    let names: BTreeSet<_> = fs::read_dir(root.join("engines/lcr"))
        .map(|entries| entries.map(|entry| entry.unwrap().file_name()).collect())
        .unwrap_or_default();
    assert_eq!(names.len(), found.len(), "{point}: {names:?}");
}

const VICTIM_HALF: usize = 8 << 10;

/// Not a test: what [`a_daemon_killed_at_any_step_loses_nothing_that_it_acknowledged`] kills.
#[test]
#[ignore = "runs as a child of another test"]
fn victim() {
    let Some(root) = std::env::var_os("VICTIM_ROOT") else { return };
    isula_core::fault::install(|point| {
        if std::env::var("ISULAD_FAULT").is_ok_and(|wanted| wanted == point) {
            std::process::abort();
        }
    });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let records = JournaledRecords::open_sized(Path::new(&root), VICTIM_HALF).unwrap();
        records.create(&container(1), later(files())).await.unwrap();
        println!("done create");
        records.provide(&container(1).id).await.unwrap();
        records.save(&stopped(&container(1), 5), Durability::Synced).await.unwrap();
        println!("done stop");
        records.remove(&container(1).id, "lcr", Durability::Synced).await.unwrap();
        println!("done remove");
        records.create(&container(2), later(files())).await.unwrap();
        println!("done other");
        for code in 0..8 {
            records.save(&stopped(&container(2), code), Durability::Synced).await.unwrap();
        }
        // Waits until the half that was left is settled.
        drop(records.shared.settling.lock().await);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_halves_of_the_journal_take_turns_for_ever() {
    const HALF: usize = 24 << 10;
    let root = memory();
    let records = JournaledRecords::open_sized(root.path(), HALF).unwrap();
    let keepers: Vec<_> = (100..104).map(container).collect();
    for keeper in &keepers {
        records.create(keeper, later(files())).await.unwrap();
    }
    let workers: Vec<_> = (0..8)
        .map(|worker| {
            let records = records.clone();
            tokio::spawn(async move {
                for round in 0..20 {
                    let mine = container(worker);
                    records.create(&mine, later(files())).await.unwrap();
                    records.save(&stopped(&mine, round), Durability::Written).await.unwrap();
                    records.save(&stopped(&mine, -round), Durability::Synced).await.unwrap();
                    if round < 19 {
                        records.remove(&mine.id, "lcr", Durability::Synced).await.unwrap();
                    }
                }
                stopped(&container(worker), -19)
            })
        })
        .collect();
    let mut wanted = known(keepers);
    for worker in workers {
        let last = worker.await.unwrap();
        wanted.insert(last.id.clone(), last);
    }
    drop(records);
    let (found, restored) = load_sized(root.path(), HALF).await;
    assert_eq!(restored.quarantined, []);
    assert!(found == wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_wait_together_share_a_sync() {
    let root = tempfile::tempdir().unwrap();
    let records = JournaledRecords::open(root.path()).unwrap();
    let tasks: Vec<_> = (0..100)
        .map(|number| {
            let records = records.clone();
            tokio::spawn(async move { records.create(&container(number), later(files())).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let syncs = records.shared.journal.syncs();
    assert!(syncs < 100, "{syncs} syncs for 100 containers");
    drop(records);
    assert_eq!(load(root.path()).await.0.len(), 100);
}

#[tokio::test]
async fn a_record_too_long_for_the_journal_is_as_durable() {
    const HALF: usize = 16 << 10;
    let root = memory();
    let records = JournaledRecords::open_sized(root.path(), HALF).unwrap();
    let mut long = container(1);
    records.create(&container(2), later(files())).await.unwrap();
    long.config.labels.insert("long".to_owned(), "x".repeat(HALF));
    records.create(&long, later(files())).await.unwrap();
    let ended = stopped(&long, 3);
    records.save(&ended, Durability::Synced).await.unwrap();
    drop(records);
    assert_eq!(load_sized(root.path(), HALF).await.0, known([ended.clone(), container(2)]));

    // A record that grows beyond the limit: what the journal has of it is older than the files.
    let records = JournaledRecords::open_sized(root.path(), HALF).unwrap();
    let mut grown = container(2);
    records.save(&stopped(&grown, 1), Durability::Synced).await.unwrap();
    grown.config.labels.insert("long".to_owned(), "x".repeat(HALF));
    records.save(&grown, Durability::Synced).await.unwrap();
    records.close().await;
    drop(records);
    assert_eq!(load_sized(root.path(), HALF).await.0, known([ended, grown]));
}

type Damage = fn(&Path);

/// What is done to a container's directory, and what the reason says.
const DAMAGES: [(&str, Damage, &str); 8] = [
    ("empty", |path| fs::write(path.join("config.v2.json"), b"").unwrap(), "config.v2.json"),
    (
        "garbage",
        |path| fs::write(path.join("hostconfig.json"), [0xff; 99]).unwrap(),
        "hostconfig.json",
    ),
    ("missing", |path| fs::remove_file(path.join("hostconfig.json")).unwrap(), "hostconfig.json"),
    (
        "directory",
        |path| {
            fs::remove_file(path.join("config.v2.json")).unwrap();
            fs::create_dir(path.join("config.v2.json")).unwrap();
        },
        "config.v2.json",
    ),
    (
        "no files",
        |path| {
            fs::remove_dir_all(path).unwrap();
            fs::create_dir(path).unwrap();
        },
        "config.v2.json",
    ),
    (
        "another's",
        |path| {
            let file = path.join("config.v2.json");
            let text = fs::read_to_string(&file).unwrap();
            fs::write(file, text.replace(&"01".repeat(32), &"02".repeat(32))).unwrap();
        },
        "is about 0202",
    ),
    (
        "another runtime",
        |path| {
            let file = path.join("hostconfig.json");
            let text = fs::read_to_string(&file).unwrap();
            fs::write(file, text.replace("\"lcr\"", "\"runc\"")).unwrap();
        },
        "names the runtime \"runc\"",
    ),
    (
        "truncated",
        |path| {
            let file = path.join("config.v2.json");
            let bytes = fs::read(&file).unwrap();
            fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
        },
        "EOF",
    ),
];

#[tokio::test]
async fn each_kind_of_damage_is_moved_aside_and_the_rest_is_served() {
    for (name, damage, part) in DAMAGES {
        let root = memory();
        let records = JournaledRecords::open(root.path()).unwrap();
        for number in [1, 3] {
            records.create(&container(number), later(files())).await.unwrap();
        }
        records.close().await;
        let directory = records.directory(&container(1).id, "lcr");
        drop(records);
        // Without the journal, which would mend it.
        fs::remove_file(root.path().join("journal")).unwrap();
        damage(&directory);
        let (found, restored) = load(root.path()).await;
        assert_eq!(found, known([container(3)]), "{name}");
        assert_eq!(restored.quarantined.len(), 1, "{name}");
        let aside = &restored.quarantined[0];
        assert!(aside.reason.contains(part), "{name}: {}", aside.reason);
        assert!(fs::read_to_string(aside.path.join("reason")).unwrap().contains(&aside.reason));
        assert!(aside.path.starts_with(root.path().join("quarantine")));
        assert!(!directory.exists());
        assert_eq!(load(root.path()).await.1.quarantined, []);
    }
}

#[tokio::test]
async fn what_the_journal_knows_mends_damaged_files() {
    let root = memory();
    let records = JournaledRecords::open(root.path()).unwrap();
    records.create(&container(1), later(files())).await.unwrap();
    records.save(&stopped(&container(1), 9), Durability::Synced).await.unwrap();
    records.shared.catch_up().await;
    let directory = records.directory(&container(1).id, "lcr");
    drop(records);
    fs::write(directory.join("config.v2.json"), [0; 4096]).unwrap();
    fs::remove_file(directory.join("hostconfig.json")).unwrap();
    let (found, restored) = load(root.path()).await;
    assert_eq!(found, known([stopped(&container(1), 9)]));
    assert_eq!(restored.quarantined, []);
}

#[tokio::test]
async fn what_was_never_acknowledged_is_gone_without_a_trace() {
    let root = memory();
    let records = JournaledRecords::open(root.path()).unwrap();
    records.create(&container(1), later(files())).await.unwrap();
    let runtime = root.path().join("engines/lcr");
    drop(records);
    fs::create_dir_all(runtime.join(format!(".new-{}/mounts", container(2).id))).unwrap();
    fs::write(root.path().join("engines/stray"), b"").unwrap();
    let (found, restored) = load(root.path()).await;
    assert_eq!(found, known([container(1)]));
    assert_eq!(restored.quarantined, []);
    assert_eq!(fs::read_dir(&runtime).unwrap().count(), 1);
}

#[tokio::test]
async fn garbage_in_the_journal_harms_nothing() {
    let root = memory();
    let records = JournaledRecords::open(root.path()).unwrap();
    records.create(&container(1), later(files())).await.unwrap();
    records.close().await;
    drop(records);
    let journal = OpenOptions::new().write(true).open(root.path().join("journal")).unwrap();
    let noise: Vec<u8> = (0..2 * super::HALF).map(|byte| ((byte * 31) >> 3) as u8).collect();
    journal.write_all_at(&noise, 0).unwrap();
    let (found, restored) = load(root.path()).await;
    assert_eq!(found, known([container(1)]));
    assert_eq!(restored.quarantined, []);
}

/// A small file system of its own; unmounted when dropped.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn new(size: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(directory.path())
            .status()
            .unwrap();
        assert!(mount.success());
        Self(directory)
    }

    fn fill(&self) -> PathBuf {
        let path = self.0.path().join("filler");
        let filler = fs::File::create(&path).unwrap();
        let mut at = 0;
        while filler.write_all_at(&[1; 4096], at).is_ok() {
            at += 4096;
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: what empties the trash behind may still hold a directory open.
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_new_containers_and_loses_none() {
    const HALF: usize = 64 << 10;
    let disk = SmallDisk::new("1m");
    let root = disk.0.path();
    let records = JournaledRecords::open_sized(root, HALF).unwrap();
    records.create(&container(1), later(files())).await.unwrap();
    records.create(&container(3), later(files())).await.unwrap();
    let filler = disk.fill();

    let refused = records.create(&container(2), later(files())).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ResourceExhausted, "{refused}");
    assert_eq!(fs::read_dir(root.join("engines/lcr")).unwrap().count(), 2);
    // What happens to the others is recorded all the same, also past the end of a half.
    for code in 0..100 {
        records.save(&stopped(&container(1), code), Durability::Synced).await.unwrap();
    }
    records.remove(&container(3).id, "lcr", Durability::Synced).await.unwrap();
    drop(records);
    let (found, restored) = load_sized(root, HALF).await;
    assert_eq!(found, known([stopped(&container(1), 99)]));
    assert_eq!(restored.quarantined, []);

    fs::remove_file(filler).unwrap();
    let records = JournaledRecords::open_sized(root, HALF).unwrap();
    records.create(&container(2), later(files())).await.unwrap();
    records.close().await;
    drop(records);
    fs::remove_file(root.join("journal")).unwrap();
    let wanted = known([stopped(&container(1), 99), container(2)]);
    assert_eq!(load_sized(root, HALF).await.0, wanted);
}

/// `cargo test --release -p isula-host -- --ignored --nocapture measure`: the figures of
/// `docs/adr/0001-state-journal.md`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
async fn measure() {
    let root =
        tempfile::tempdir_in(std::env::var("MEASURE_IN").unwrap_or("/var/tmp".into())).unwrap();
    let records = JournaledRecords::open(root.path()).unwrap();
    let ids: Arc<Vec<ContainerId>> = Arc::new(
        (0..10_000_u32)
            .map(|number| {
                let mut bytes = [0; 32];
                bytes[..4].copy_from_slice(&number.to_be_bytes());
                ContainerId::from_random(bytes)
            })
            .collect(),
    );
    let mut large = files();
    large.config_json = vec![b'x'; 24_000];
    large.seccomp = vec![b'x'; 10_000];
    let one_by_one = 400;
    measure_in_turn(root.path(), &records, &ids[..one_by_one], &large).await;
    let began = Instant::now();
    for batch in ids[one_by_one..].chunks(100) {
        let tasks: Vec<_> = batch
            .iter()
            .map(|id| {
                let (records, container, large) = (records.clone(), stopped_as(id), large.clone());
                tokio::spawn(async move { records.create(&container, later(large)).await.unwrap() })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    }
    let count = (ids.len() - one_by_one) as u32;
    println!("create, 100 at once: {:?} each", began.elapsed() / count);
    println!("syncs in all: {}", records.shared.journal.syncs());
    let began = Instant::now();
    records.close().await;
    println!("close: {:?}", began.elapsed());
    drop(records);
    let began = Instant::now();
    let records = JournaledRecords::open(root.path()).unwrap();
    println!("open: {:?}", began.elapsed());
    let began = Instant::now();
    assert_eq!(records.load().await.unwrap().containers.len(), ids.len());
    println!("load 10,000: {:?}", began.elapsed());
    // Ten thousand directories take minutes to delete on some disks.
    println!("left: {}", root.keep().display());
}

async fn measure_in_turn(
    root: &Path,
    records: &JournaledRecords,
    ids: &[ContainerId],
    large: &ContainerFiles,
) {
    // In turn, so that noise of the machine meets all alike.
    let mut spent = [Duration::ZERO; 4];
    for (number, id) in ids.iter().enumerate() {
        let began = Instant::now();
        records.create(&stopped_as(id), later(large.clone())).await.unwrap();
        spent[0] += began.elapsed();
        let began = Instant::now();
        records.save(&stopped_as(id), Durability::Synced).await.unwrap();
        spent[1] += began.elapsed();
        let began = Instant::now();
        records.save(&stopped_as(id), Durability::Written).await.unwrap();
        spent[2] += began.elapsed();
        spent[3] += plainly(root, number);
    }
    let names = ["create", "save synced", "save written", "two files without a journal"];
    for (name, spent) in names.iter().zip(spent) {
        println!("{name}: {:?}", spent / ids.len() as u32);
    }
}

fn stopped_as(id: &ContainerId) -> Container {
    Container { id: id.clone(), ..stopped(&container(1), 0) }
}

/// The way without a journal: each file written to a temporary name, synced, renamed, and its
/// directory synced.
fn plainly(root: &Path, number: usize) -> Duration {
    let documents = super::document::encode(&container(1)).unwrap();
    let began = Instant::now();
    let directory = root.join(format!("plain-{number}"));
    fs::create_dir(&directory).unwrap();
    super::plain::write_documents_durably(&directory, &documents).unwrap();
    fs::File::open(root).unwrap().sync_all().unwrap();
    began.elapsed()
}
