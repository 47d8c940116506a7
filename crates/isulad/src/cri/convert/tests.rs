//! What messages mean, and which mean nothing.

use isula_api::runtime::v1::{self, security_profile::ProfileType};
use isula_core::{
    container::{Propagation, Resources},
    image::Reference,
    sandbox::{MountFlags, PodMount, PodMountSource, ReadOnly, Scope, SecurityProfile},
    signal::Signal,
};
use tonic::{Code, Status};

use super::{container, image, limits, mounts, oom_score_adj, pod, security};

fn refused<T>(result: Result<T, Status>, word: &str) {
    let Err(status) = result else { panic!("{word} is taken") };
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    assert!(status.message().contains(word), "{word}: {}", status.message());
}

#[test]
fn a_pod_needs_metadata_and_gets_what_it_asks_for() {
    let config = v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata { name: "web".to_owned(), ..Default::default() }),
        port_mappings: vec![
            v1::PortMapping { container_port: 80, host_port: 8080, ..Default::default() },
            // It listens there, and nothing of the host leads to it.
            v1::PortMapping { container_port: 443, ..Default::default() },
        ],
        ..Default::default()
    };
    let made = pod::sandbox_config(config.clone(), "vm".to_owned()).unwrap();
    assert_eq!((made.metadata.name.as_str(), made.runtime_handler.as_str()), ("web", "vm"));
    assert_eq!(made.port_mappings.len(), 1);
    assert_eq!((made.hostname, made.cgroup_parent, made.dns), (None, None, None));
    refused(pod::sandbox_config(v1::PodSandboxConfig::default(), String::new()), "metadata");
    let context = v1::LinuxSandboxSecurityContext {
        run_as_group: Some(v1::Int64Value { value: 1 }),
        ..Default::default()
    };
    let linux = v1::LinuxPodSandboxConfig { security_context: Some(context), ..Default::default() };
    let bad = v1::PodSandboxConfig { linux: Some(linux), ..config.clone() };
    refused(pod::sandbox_config(bad, String::new()), "run_as_group");
    let mapping = v1::PortMapping { container_port: 0, host_port: 1, ..Default::default() };
    let bad = v1::PodSandboxConfig { port_mappings: vec![mapping], ..config };
    refused(pod::sandbox_config(bad, String::new()), "container_port");
}

#[test]
fn zero_limits_say_nothing_and_the_rest_comes_back_as_it_was() {
    let none = limits(v1::LinuxContainerResources::default()).unwrap();
    assert_eq!(none, Resources::default());
    let wire = v1::LinuxContainerResources {
        cpu_period: 100_000,
        cpu_quota: -1,
        cpu_shares: 2,
        memory_limit_in_bytes: 1 << 20,
        oom_score_adj: 999,
        cpuset_cpus: "0-1".to_owned(),
        cpuset_mems: "0".to_owned(),
        hugepage_limits: vec![v1::HugepageLimit { page_size: "2MB".to_owned(), limit: 0 }],
        unified: [("memory.high".to_owned(), "5".to_owned())].into(),
        memory_swap_limit_in_bytes: 1 << 21,
    };
    let score = oom_score_adj(&wire).unwrap();
    let read = limits(wire.clone()).unwrap();
    assert_eq!(super::resources::message(&read, Some(score)), wire);
    let bad = v1::LinuxContainerResources { cpu_shares: -1, ..Default::default() };
    refused(limits(bad), "cpu_shares");
    let bad = v1::LinuxContainerResources { oom_score_adj: 1001, ..Default::default() };
    refused(oom_score_adj(&bad), "oom_score_adj");
}

#[test]
fn mounts_are_read_and_shown_again_and_contradictions_refused() {
    let mount = v1::Mount {
        container_path: "/data".to_owned(),
        host_path: "/srv".to_owned(),
        readonly: true,
        recursive_read_only: true,
        mount_options: vec!["noexec".to_owned(), "nosuid".to_owned()],
        ..Default::default()
    };
    let read = |mount: &v1::Mount| PodMount::try_from(mounts::Wire(mount.clone()));
    let made = read(&mount).unwrap();
    assert_eq!(made.source, PodMountSource::Host("/srv".to_owned()));
    assert_eq!((made.readonly, made.propagation), (ReadOnly::Recursive, Propagation::Rprivate));
    assert_eq!(made.flags, MountFlags { noexec: true, nodev: false, nosuid: true });
    assert_eq!(mounts::message(&made), mount);
    let image = v1::ImageSpec { image: "busybox".to_owned(), ..Default::default() };
    let shared = v1::MountPropagation::PropagationBidirectional.into();
    for (bad, word) in [
        (v1::Mount { readonly: false, ..mount.clone() }, "readonly"),
        (v1::Mount { propagation: shared, ..mount.clone() }, "propagation"),
        (v1::Mount { propagation: 9, ..mount.clone() }, "propagation"),
        (v1::Mount { host_path: String::new(), ..mount.clone() }, "source"),
        (v1::Mount { image: Some(image), ..mount.clone() }, "not both"),
        (v1::Mount { image_sub_path: "x".to_owned(), ..mount.clone() }, "image_sub_path"),
        (v1::Mount { mount_options: vec!["suid".to_owned()], ..mount }, "mount_options"),
    ] {
        refused(read(&bad), word);
    }
}

#[test]
fn a_security_context_is_read_with_its_former_fields() {
    assert_eq!(security::container(None).unwrap().masked_paths, None);
    let none = security::container(Some(v1::LinuxContainerSecurityContext::default())).unwrap();
    assert_eq!((none.masked_paths, none.seccomp), (Some(vec![]), None));
    let named = |profile_type: ProfileType, name: &str| v1::SecurityProfile {
        profile_type: profile_type.into(),
        localhost_ref: name.to_owned(),
    };
    let context = v1::LinuxContainerSecurityContext {
        seccomp: Some(named(ProfileType::Localhost, "/p.json")),
        apparmor: Some(named(ProfileType::RuntimeDefault, "")),
        ..Default::default()
    };
    let read = security::container(Some(context)).unwrap();
    assert_eq!(read.seccomp, Some(SecurityProfile::Localhost("/p.json".to_owned())));
    assert_eq!(read.apparmor, Some(SecurityProfile::RuntimeDefault));
    #[expect(deprecated, reason = "that is what is tested")]
    let former = |text: &str| v1::LinuxContainerSecurityContext {
        seccomp_profile_path: text.to_owned(),
        ..Default::default()
    };
    for (text, wanted) in [
        ("unconfined", SecurityProfile::Unconfined),
        ("runtime/default", SecurityProfile::RuntimeDefault),
        ("localhost//p.json", SecurityProfile::Localhost("/p.json".to_owned())),
    ] {
        let read = security::container(Some(former(text))).unwrap();
        assert_eq!(read.seccomp, Some(wanted), "{text}");
    }
    refused(security::container(Some(former("mine"))), "seccomp");
    let id = |value| Some(v1::Int64Value { value });
    let group = v1::LinuxContainerSecurityContext { run_as_group: id(1), ..Default::default() };
    refused(security::container(Some(group)), "run_as_group");
    for wrong in [-1, i64::from(u32::MAX)] {
        let context =
            v1::LinuxContainerSecurityContext { run_as_user: id(wrong), ..Default::default() };
        refused(security::container(Some(context)), "run_as_user");
    }
}

#[test]
fn namespaces_have_modes_and_a_target_needs_its_container() {
    let options = v1::NamespaceOption {
        network: v1::NamespaceMode::Node.into(),
        pid: v1::NamespaceMode::Target.into(),
        target_id: "abc".to_owned(),
        ..Default::default()
    };
    let modes = security::namespaces(Some(options.clone())).unwrap();
    assert_eq!((&modes.network, &modes.ipc), (&Scope::Node, &Scope::Pod));
    assert_eq!(modes.pid, Scope::Target("abc".to_owned()));
    assert_eq!(security::namespace_options(&modes), options);
    let none = v1::NamespaceOption { target_id: String::new(), ..options.clone() };
    refused(security::namespaces(Some(none)), "target_id");
    let user = v1::UserNamespace { mode: v1::NamespaceMode::Target.into(), ..Default::default() };
    let wrong = v1::NamespaceOption { userns_options: Some(user), ..options };
    refused(security::namespaces(Some(wrong)), "userns_options");
}

#[test]
fn every_stop_signal_has_a_number() {
    let request = |stop_signal| v1::CreateContainerRequest {
        config: Some(v1::ContainerConfig {
            metadata: Some(v1::ContainerMetadata::default()),
            image: Some(v1::ImageSpec { image: "x".to_owned(), ..Default::default() }),
            stop_signal,
            ..Default::default()
        }),
        ..Default::default()
    };
    let number =
        |value| container::new_member(request(value)).unwrap().stop_signal.map(Signal::number);
    assert_eq!(number(v1::Signal::RuntimeDefault.into()), None);
    assert_eq!(number(v1::Signal::Sigterm.into()), Some(15));
    assert_eq!(number(v1::Signal::Sigcld.into()), Some(17));
    assert_eq!(number(v1::Signal::Sigrtminplus3.into()), Some(37));
    assert_eq!(number(v1::Signal::Sigrtmaxminus1.into()), Some(63));
    for value in 1..=i32::from(v1::Signal::Sigrtmax) {
        assert!(number(value).is_some(), "{value}");
    }
    refused(container::new_member(request(99)), "stop_signal");
}

#[test]
fn credentials_go_to_their_own_registry_alone() {
    let hub: Reference = "busybox".parse().unwrap();
    let other: Reference = "r.example/x".parse().unwrap();
    let auth = |address: &str| v1::AuthConfig {
        auth: "bWU6c2VjcmV0".to_owned(),
        server_address: address.to_owned(),
        ..Default::default()
    };
    for (address, reference, sent) in [
        ("", &hub, true),
        ("https://index.docker.io/v1/", &hub, true),
        ("r.example", &other, true),
        ("https://r.example", &hub, false),
        ("docker.io", &other, false),
    ] {
        let options = image::pull_options(Some(auth(address)), reference).unwrap();
        assert_eq!(options.credentials.is_some(), sent, "{address}");
        if let Some(credentials) = options.credentials {
            assert_eq!(
                (credentials.username, credentials.password),
                ("me".into(), "secret".into())
            );
        }
    }
    let token = v1::AuthConfig { registry_token: "t".to_owned(), ..Default::default() };
    let options = image::pull_options(Some(token), &hub).unwrap();
    assert_eq!(options.credentials.unwrap().username, image::REGISTRY_TOKEN);
    let bad = v1::AuthConfig { auth: "?".to_owned(), ..Default::default() };
    refused(image::pull_options(Some(bad), &hub), "auth");
}
