//! Each field of `linux.resources` in each version: what is written, or how it is refused.

use std::path::Path;

use super::super::{CgroupPlan, Hierarchies, Hierarchy};
use super::*;

const ALL: [&str; 14] = [
    "cpu",
    "cpuacct",
    "cpuset",
    "memory",
    "devices",
    "freezer",
    "io",
    "pids",
    "hugetlb",
    "rdma",
    "net_cls",
    "net_prio",
    "perf_event",
    "misc",
];

fn cgroup(version: Version, controllers: &[&str]) -> Cgroup {
    let controllers = Controllers::from_names(controllers.iter().copied());
    let list = vec![Hierarchy { mount: "/none".into(), controllers }];
    Cgroup::new(&Hierarchies { version, list }, Path::new("/a/b")).unwrap()
}

fn parse(json: &str) -> LinuxResources {
    serde_json::from_str(&format!("{{{json}}}")).unwrap()
}

fn compiled(json: &str, version: Version, fresh: bool) -> String {
    match compile(&cgroup(version, &ALL), &parse(json), fresh) {
        Err(error) => error.to_string(),
        Ok(limits) => {
            let line = |write: &Write| {
                let other = write.alternative.as_ref();
                let other = other.map(|(file, value)| format!(" or {file}={value}"));
                format!("{}={}{}", write.file, write.value, other.unwrap_or_default())
            };
            limits.writes.iter().map(line).collect::<Vec<_>>().join("; ")
        }
    }
}

/// Field, version 1, version 2. A text that ends with `!` is the beginning of a refusal.
const GRID: [(&str, &str, &str); 45] = [
    (r#""memory": {"limit": 1024}"#, "memory.limit_in_bytes=1024", "memory.max=1024"),
    (r#""memory": {"limit": -1}"#, "", ""),
    (r#""memory": {"limit": 0}"#, "", ""),
    (r#""memory": {"limit": -2}"#, "memory.limit!", "memory.limit!"),
    (
        r#""memory": {"limit": 1024, "swap": 3072}"#,
        "memory.limit_in_bytes=1024; memory.memsw.limit_in_bytes=3072",
        "memory.swap.max=2048; memory.max=1024",
    ),
    (
        r#""memory": {"limit": 1024, "swap": 1024}"#,
        "memory.limit_in_bytes=1024; memory.memsw.limit_in_bytes=1024",
        "memory.swap.max=0; memory.max=1024",
    ),
    (r#""memory": {"limit": 1024, "swap": -1}"#, "memory.limit_in_bytes=1024", "memory.max=1024"),
    (r#""memory": {"limit": 1024, "swap": 1000}"#, "memory.swap!", "memory.swap!"),
    (r#""memory": {"swap": 1024}"#, "memory.memsw.limit_in_bytes=1024", "memory.swap!"),
    (r#""memory": {"reservation": 512}"#, "memory.soft_limit_in_bytes=512", "memory.low=512"),
    (r#""memory": {"kernel": 512}"#, "memory.kernel!", "memory.kernel!"),
    (r#""memory": {"kernel": 0}"#, "", ""),
    (r#""memory": {"kernelTCP": 512}"#, "memory.kmem.tcp.limit_in_bytes=512", "memory.kernelTCP!"),
    (r#""memory": {"swappiness": 10}"#, "memory.swappiness=10", "memory.swappiness!"),
    (r#""memory": {"swappiness": 101}"#, "memory.swappiness!", "memory.swappiness!"),
    (r#""memory": {"disableOOMKiller": true}"#, "memory.oom_control=1", "memory.disableOOMKiller!"),
    (r#""memory": {"disableOOMKiller": false}"#, "", ""),
    (r#""memory": {"useHierarchy": true}"#, "memory.use_hierarchy=1", ""),
    (r#""memory": {"useHierarchy": false}"#, "memory.use_hierarchy=0", "memory.useHierarchy!"),
    (r#""memory": {"checkBeforeUpdate": true}"#, "", ""),
    (r#""cpu": {"shares": 1024}"#, "cpu.shares=1024", "cpu.weight=100"),
    (r#""cpu": {"shares": 0, "quota": 0, "period": 0}"#, "", ""),
    (
        r#""cpu": {"quota": 50000, "period": 20000}"#,
        "cpu.cfs_period_us=20000; cpu.cfs_quota_us=50000",
        "cpu.max=50000 20000",
    ),
    (r#""cpu": {"quota": 50000}"#, "cpu.cfs_quota_us=50000", "cpu.max=50000 100000"),
    (r#""cpu": {"period": 20000}"#, "cpu.cfs_period_us=20000", "cpu.max=max 20000"),
    (r#""cpu": {"quota": -1}"#, "", "cpu.max=max 100000"),
    (r#""cpu": {"burst": 100}"#, "cpu.cfs_burst_us=100", "cpu.max.burst=100"),
    (r#""cpu": {"idle": 1}"#, "cpu.idle=1", "cpu.idle=1"),
    (r#""cpu": {"realtimeRuntime": 950}"#, "cpu.rt_runtime_us=950", "cpu.realtimeRuntime!"),
    (r#""cpu": {"realtimePeriod": 1000}"#, "cpu.rt_period_us=1000", "cpu.realtimePeriod!"),
    (r#""cpu": {"cpus": "0-1,3"}"#, "cpuset.cpus=0-1,3", "cpuset.cpus=0-1,3"),
    (r#""cpu": {"mems": "0"}"#, "cpuset.mems=0", "cpuset.mems=0"),
    (r#""cpu": {"cpus": "0\n1"}"#, "cpu.cpus!", "cpu.cpus!"),
    (r#""pids": {"limit": 7}"#, "pids.max=7", "pids.max=7"),
    (r#""pids": {"limit": -1}"#, "", ""),
    (
        r#""blockIO": {"weight": 10, "weightDevice": [{"major": 8, "minor": 0, "weight": 1000}]}"#,
        "blkio.bfq.weight=10 or blkio.weight=10; \
         blkio.bfq.weight_device=8:0 1000 or blkio.weight_device=8:0 1000",
        "io.bfq.weight=10 or io.weight=1; io.bfq.weight=8:0 1000 or io.weight=8:0 10000",
    ),
    (r#""blockIO": {"leafWeight": 10}"#, "blockIO.leafWeight!", "blockIO.leafWeight!"),
    (
        r#""blockIO": {"weightDevice": [{"major": 8, "minor": 0, "leafWeight": 10}]}"#,
        "blockIO.weightDevice.leafWeight!",
        "blockIO.weightDevice.leafWeight!",
    ),
    (
        r#""blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 5}],
            "throttleWriteBpsDevice": [{"major": 8, "minor": 1, "rate": 0}],
            "throttleReadIOPSDevice": [{"major": 8, "minor": 2, "rate": 6}],
            "throttleWriteIOPSDevice": [{"major": 8, "minor": 3, "rate": 7}]}"#,
        "blkio.throttle.read_bps_device=8:0 5; blkio.throttle.write_bps_device=8:1 0; \
         blkio.throttle.read_iops_device=8:2 6; blkio.throttle.write_iops_device=8:3 7",
        "io.max=8:0 rbps=5; io.max=8:1 wbps=max; io.max=8:2 riops=6; io.max=8:3 wiops=7",
    ),
    (
        r#""hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}]"#,
        "hugetlb.2MB.limit_in_bytes=4194304; hugetlb.2MB.rsvd.limit_in_bytes=4194304",
        "hugetlb.2MB.max=4194304; hugetlb.2MB.rsvd.max=4194304",
    ),
    (
        r#""hugepageLimits": [{"pageSize": "../x", "limit": 1}]"#,
        "hugepageLimits.pageSize!",
        "hugepageLimits.pageSize!",
    ),
    (r#""network": {"classID": 5}"#, "net_cls.classid=5", "network.classID!"),
    (
        r#""network": {"priorities": [{"name": "eth0", "priority": 5}]}"#,
        "net_prio.ifpriomap=eth0 5",
        "network.priorities!",
    ),
    (
        r#""rdma": {"mlx5": {"hcaHandles": 3, "hcaObjects": 4}, "a": {"hcaObjects": 1}}"#,
        "rdma.max=a hca_object=1; rdma.max=mlx5 hca_handle=3 hca_object=4",
        "rdma.max=a hca_object=1; rdma.max=mlx5 hca_handle=3 hca_object=4",
    ),
    (r#""unified": {"memory.high": "max"}"#, "unified!", "memory.high=max"),
];

#[test]
fn every_field_is_written_or_refused_by_its_name() {
    for (json, v1, v2) in GRID {
        for (version, expected) in [(Version::V1, v1), (Version::V2, v2)] {
            let found = compiled(json, version, true);
            match expected.strip_suffix('!') {
                Some(field) => {
                    let expected = format!("linux.resources.{field}: ");
                    assert!(found.starts_with(&expected), "{json} {version:?}: {found}");
                }
                None => assert_eq!(found, expected, "{json} {version:?}"),
            }
        }
    }
}

#[test]
fn what_a_new_group_has_is_written_to_an_old_one() {
    let reset = |json, version| compiled(json, version, false);
    let json = r#""memory": {"limit": -1, "disableOOMKiller": false}, "pids": {"limit": -1},
                  "cpu": {"quota": -1}"#;
    assert_eq!(
        reset(json, Version::V1),
        "memory.limit_in_bytes=-1; memory.memsw.limit_in_bytes=-1; memory.oom_control=0; \
         cpu.cfs_quota_us=-1; pids.max=max"
    );
    assert_eq!(
        reset(json, Version::V2),
        "memory.swap.max=max; memory.max=max; cpu.max=max 100000; pids.max=max"
    );
}

#[test]
fn unified_takes_files_of_controllers_only() {
    for file in ["cgroup.procs", "../x.y", "memory", "nothing.max", "memory./x"] {
        let json = format!(r#""unified": {{"{file}": "1"}}"#);
        let found = compiled(&json, Version::V2, true);
        assert!(found.starts_with(&format!("linux.resources.unified.{file}: ")), "{found}");
    }
}

#[test]
fn a_limit_without_its_controller_is_an_error_but_for_huge_pages() {
    for version in [Version::V1, Version::V2] {
        let bare = cgroup(version, &["devices"]);
        for (json, field, controller) in [
            (r#""memory": {"limit": 1024}"#, "memory.limit", "memory"),
            (r#""cpu": {"cpus": "0"}"#, "cpu.cpus", "cpuset"),
            (r#""pids": {"limit": 3}"#, "pids.limit", "pids"),
        ] {
            let error = compile(&bare, &parse(json), true).err().unwrap().to_string();
            let expected =
                format!("linux.resources.{field} needs the cgroup controller {controller}");
            assert!(error.starts_with(&expected), "{error}");
        }
        let json = r#""hugepageLimits": [{"pageSize": "2MB", "limit": 0}]"#;
        let limits = compile(&bare, &parse(json), true).unwrap();
        assert_eq!((limits.writes.len(), limits.warnings.len()), (0, 1));
        let unlimited = compile(&bare, &parse(""), true).unwrap();
        assert!(unlimited.writes.is_empty() && unlimited.required.is_empty());
    }
}

#[test]
fn a_plan_survives_its_encoding() {
    let hierarchies = cgroup(Version::V2, &ALL).hierarchies;
    let resources = parse(r#""memory": {"limit": 1024}, "cpu": {"shares": 2}"#);
    let plan = CgroupPlan::new(&hierarchies, Path::new("/a"), &resources).unwrap();
    let bytes = postcard::to_stdvec(&plan).unwrap();
    assert_eq!(postcard::from_bytes::<CgroupPlan>(&bytes).unwrap(), plan);
    assert!(bytes.len() < 2048, "{}", bytes.len());
}
