//! The built-in plugins: what is attached can be reached.

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::Command,
    thread,
    time::Duration,
};

use isula_core::{
    error::ErrorKind,
    ports::{Networks, PortMapping, Protocol},
};

use crate::world::{BRIDGE, Pod, on_a_host, run};

const PATIENCE: Duration = Duration::from_secs(5);

/// Listens inside a pod, once for all connections to come: a copy of the socket lives on for a
/// moment where another test makes a process meanwhile, and the port with it.
fn listen(pod: &Pod) -> TcpListener {
    pod.inside(|| TcpListener::bind("[::]:80").unwrap())
}

/// Serves one connection with the name of the pod.
fn serve(listener: &TcpListener, name: &'static str) -> thread::JoinHandle<SocketAddr> {
    let listener = listener.try_clone().unwrap();
    thread::spawn(move || {
        let (mut stream, peer) = listener.accept().unwrap();
        stream.write_all(name.as_bytes()).unwrap();
        peer
    })
}

/// Connects and reads what it is told.
fn ask(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)
        .unwrap_or_else(|error| panic!("{address}: {error}"));
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn mapping(host_port: u16, container_port: u16, protocol: Protocol) -> PortMapping {
    PortMapping { host_port, container_port, protocol, host_ip: None }
}

#[test]
fn two_pods_and_the_host_reach_each_other() {
    on_a_host(BRIDGE, |world| async move {
        let (one, two) = (world.pod(1).await, world.pod(2).await);
        let (first, second) = (one.attach(&world).await, two.attach(&world).await);
        let ips: Vec<IpAddr> = second.addresses.iter().map(|address| address.ip).collect();
        assert_eq!(ips, ["10.77.0.3".parse::<IpAddr>().unwrap(), "fd77::3".parse().unwrap()]);
        assert_eq!(first.addresses[0].gateway, Some("10.77.0.1".parse().unwrap()));
        assert_eq!((first.network.as_str(), first.interface.as_str()), ("pods", "eth0"));
        let listener = listen(&two);
        for ip in ips {
            let server = serve(&listener, "two");
            assert_eq!(one.inside(|| ask(SocketAddr::new(ip, 80))), "two");
            let seen = server.join().unwrap().ip().to_canonical();
            assert!(first.addresses.iter().any(|address| address.ip == seen), "{seen}");
            let server = serve(&listener, "two");
            assert_eq!(ask(SocketAddr::new(ip, 80)), "two");
            server.join().unwrap();
        }
        world.networks.check(&one.request()).await.unwrap();
        one.end(&world).await;
        two.end(&world).await;
        world.assert_nothing_left();
    });
}

#[test]
fn a_port_of_the_host_leads_into_the_pod() {
    on_a_host(BRIDGE, |world| async move {
        let (one, two) = (world.pod(1).await, world.pod(2).await);
        let mut request = one.request();
        request.capabilities.port_mappings = vec![
            mapping(8080, 80, Protocol::Tcp),
            mapping(8053, 53, Protocol::Udp),
            mapping(8081, 81, Protocol::Sctp),
            PortMapping {
                host_ip: Some([10, 77, 0, 1].into()),
                ..mapping(8443, 80, Protocol::Tcp)
            },
        ];
        world.networks.attach(&request).await.unwrap();
        two.attach(&world).await;
        world.networks.check(&request).await.unwrap();
        let listener = listen(&one);
        for address in ["127.0.0.1:8080", "10.77.0.1:8080", "[fd77::1]:8080", "10.77.0.1:8443"] {
            let server = serve(&listener, "one");
            assert_eq!(ask(address.parse().unwrap()), "one", "{address}");
            server.join().unwrap();
        }
        // From another pod, and from the pod itself.
        for pod in [&two, &one] {
            let server = serve(&listener, "one");
            assert_eq!(pod.inside(|| ask("10.77.0.1:8080".parse().unwrap())), "one");
            server.join().unwrap();
        }
        // The mapping of one address is no mapping of another.
        let other = "127.0.0.1:8443".parse().unwrap();
        TcpStream::connect_timeout(&other, PATIENCE).unwrap_err();

        let server = one.inside(|| UdpSocket::bind("0.0.0.0:53").unwrap());
        server.set_read_timeout(Some(PATIENCE)).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.send_to(b"question", "127.0.0.1:8053").unwrap();
        let mut buffer = [0; 16];
        let (length, peer) = server.recv_from(&mut buffer).unwrap();
        server.send_to(&buffer[..length], peer).unwrap();
        assert_eq!(client.recv(&mut buffer).unwrap(), length);

        world.networks.detach(&request).await.unwrap();
        world.networks.remove_namespace(&one.id).await.unwrap();
        let gone = "10.77.0.1:8080".parse().unwrap();
        TcpStream::connect_timeout(&gone, PATIENCE).unwrap_err();
        two.end(&world).await;
        world.assert_nothing_left();
    });
}

#[test]
fn a_flow_that_began_before_its_port_was_mapped_follows_the_mapping() {
    on_a_host(BRIDGE, |world| async move {
        let pod = world.pod(1).await;
        // Another pod makes the bridge and the rules, so that connections are tracked.
        let other = world.pod(2).await;
        let mut request = other.request();
        request.capabilities.port_mappings = vec![mapping(9999, 9, Protocol::Udp)];
        world.networks.attach(&request).await.unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.send_to(b"lost", "127.0.0.1:8053").unwrap();
        let mut request = pod.request();
        request.capabilities.port_mappings = vec![mapping(8053, 53, Protocol::Udp)];
        world.networks.attach(&request).await.unwrap();
        let server = pod.inside(|| UdpSocket::bind("0.0.0.0:53").unwrap());
        server.set_read_timeout(Some(PATIENCE)).unwrap();
        client.send_to(b"found", "127.0.0.1:8053").unwrap();
        let mut buffer = [0; 16];
        assert_eq!(server.recv(&mut buffer).unwrap(), 5);
    });
}

#[test]
fn rules_that_somebody_flushed_are_made_again() {
    on_a_host(BRIDGE, |world| async move {
        world.pod(1).await.attach(&world).await;
        run(Command::new("nft").args(["flush", "ruleset"]));
        let pod = world.pod(2).await;
        let mut request = pod.request();
        request.capabilities.port_mappings = vec![mapping(8080, 80, Protocol::Tcp)];
        world.networks.attach(&request).await.unwrap();
        let server = serve(&listen(&pod), "two");
        assert_eq!(ask("127.0.0.1:8080".parse().unwrap()), "two");
        server.join().unwrap();
        run(Command::new("nft").args(["flush", "ruleset"]));
        let error = world.networks.check(&request).await.unwrap_err().to_string();
        assert!(error.contains("rules are missing in chain hostports"), "{error}");
        world.networks.detach(&request).await.unwrap();
    });
}

#[test]
fn what_a_pod_lost_is_told_by_a_check() {
    on_a_host(BRIDGE, |world| async move {
        let pod = world.pod(1).await;
        let error = world.networks.check(&pod.request()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        pod.attach(&world).await;
        world.networks.check(&pod.request()).await.unwrap();
        let again = world.networks.attach(&pod.request()).await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);
        let ip = |args: &[&str]| pod.inside(|| run(Command::new("ip").args(args)));
        ip(&["route", "del", "default"]);
        let error = world.networks.check(&pod.request()).await.unwrap_err().to_string();
        assert!(error.contains("eth0 has not the route 0.0.0.0/0"), "{error}");
        ip(&["addr", "flush", "dev", "eth0"]);
        let error = world.networks.check(&pod.request()).await.unwrap_err().to_string();
        assert!(error.contains("eth0 has not the address 10.77.0.2/16"), "{error}");
        ip(&["link", "del", "eth0"]);
        let error = world.networks.check(&pod.request()).await.unwrap_err().to_string();
        assert!(error.contains("eth0 is gone"), "{error}");
        pod.end(&world).await;
        world.assert_nothing_left();
    });
}

#[test]
fn a_namespace_that_lives_on_loses_its_device_and_can_be_attached_again() {
    on_a_host(BRIDGE, |world| async move {
        let pod = world.pod(1).await;
        for _ in 0..3 {
            pod.attach(&world).await;
            world.networks.detach(&pod.request()).await.unwrap();
            // At once: what is left of the former device is waited for.
            pod.attach(&world).await;
            world.networks.detach(&pod.request()).await.unwrap();
            assert_eq!(crate::world::veths(), [""; 0]);
            let links = pod.inside(|| run(Command::new("ip").args(["-o", "link"])));
            assert_eq!(links.lines().count(), 1, "{links}");
        }
        pod.end(&world).await;
        world.assert_nothing_left();
    });
}

#[test]
fn a_failed_attachment_leaves_nothing() {
    on_a_host(BRIDGE, |world| async move {
        let pod = world.pod(1).await;
        let mut request = pod.request();
        request.capabilities.port_mappings = vec![mapping(0, 80, Protocol::Tcp)];
        let error = world.networks.attach(&request).await.unwrap_err().to_string();
        assert_eq!(error, "network plugin portmap failed (ADD): port 0 can't be mapped");
        assert_eq!((world.reserved().len(), world.kept().len()), (0, 0));
        pod.inside(|| run(Command::new("ip").args(["link", "add", "eth0", "type", "bridge"])));
        let error = world.networks.attach(&pod.request()).await.unwrap_err().to_string();
        assert!(error.contains("eth0 exists in the namespace"), "{error}");
        let mut nowhere = pod.request();
        nowhere.namespace = Some(world.root.join("nowhere"));
        let error = world.networks.attach(&nowhere).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        pod.end(&world).await;
        world.assert_nothing_left();
    });
}

#[test]
fn a_pod_whose_namespace_is_gone_is_detached_all_the_same() {
    on_a_host(BRIDGE, |world| async move {
        let pod = world.pod(1).await;
        let mut request = pod.request();
        request.capabilities.port_mappings = vec![mapping(8080, 80, Protocol::Tcp)];
        world.networks.attach(&request).await.unwrap();
        world.networks.remove_namespace(&pod.id).await.unwrap();
        // The network's own file may be gone too: what was attached is written down.
        std::fs::remove_file(world.root.join("net.d/10-test.conflist")).unwrap();
        let bare = pod.request();
        world.networks.detach(&bare).await.unwrap();
        world.networks.detach(&bare).await.unwrap();
        world.networks.remove_namespace(&pod.id).await.unwrap();
        world.assert_nothing_left();
    });
}

#[test]
fn an_address_and_a_hardware_address_can_be_asked_for() {
    let conflist = r#"{"cniVersion": "1.1.0", "name": "pods", "plugins": [{"type": "bridge",
        "mtu": 1400, "hairpinMode": true, "portIsolation": true,
        "capabilities": {"ips": true, "mac": true},
        "ipam": {"type": "host-local", "dataDir": "DATA", "subnet": "10.77.0.0/16",
        "routes": [{"dst": "10.99.0.0/16", "mtu": 1300, "priority": 7}]}}]}"#;
    on_a_host(conflist, |world| async move {
        let pod = world.pod(1).await;
        let mut request = pod.request();
        request.capabilities.mac = Some("0a:00:00:00:00:07".to_owned());
        request.capabilities.ips = vec!["10.77.5.5".to_owned()];
        let attached = world.networks.attach(&request).await.unwrap();
        assert_eq!(attached.mac.as_deref(), Some("0a:00:00:00:00:07"));
        assert_eq!(attached.addresses[0].ip, IpAddr::from([10, 77, 5, 5]));
        let ip = |args: &[&str]| pod.inside(|| run(Command::new("ip").args(args)));
        let link = ip(&["link", "show", "eth0"]);
        assert!(link.contains("mtu 1400") && link.contains("0a:00:00:00:00:07"), "{link}");
        let routes = ip(&["route"]);
        assert!(
            routes.contains("10.99.0.0/16 via 10.77.0.1 dev eth0 metric 7 mtu 1300"),
            "{routes}"
        );
        let port = run(Command::new("ip").args(["-d", "link", "show", "type", "veth"]));
        assert!(port.contains("hairpin on") && port.contains("isolated on"), "{port}");
        world.networks.check(&request).await.unwrap();
        pod.end(&world).await;
        world.assert_nothing_left();
    });
}
