//! Many at once, and namespaces without anything in them.

use std::{fs, path::Path, sync::Arc, time::Instant};

use isula_core::{
    error::ErrorKind,
    id::ContainerId,
    ports::{Networks, PortMapping, Protocol},
};

use crate::world::{BRIDGE, Pod, on_a_host};

#[test]
fn a_hundred_pods_at_once_come_and_go_without_a_trace() {
    on_a_host(BRIDGE, |world| async move {
        let world = Arc::new(world);
        let begun = Instant::now();
        let starts = (1..=100).map(|number| {
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                let pod = world.pod(number).await;
                let mut request = pod.request();
                request.capabilities.port_mappings = vec![PortMapping {
                    host_port: 8000 + u16::from(number),
                    container_port: 80,
                    protocol: Protocol::Tcp,
                    host_ip: None,
                }];
                let attached = world.networks.attach(&request).await.unwrap();
                (pod, attached.addresses[0].ip)
            })
        });
        let mut pods = Vec::new();
        let mut addresses = Vec::new();
        for start in starts.collect::<Vec<_>>() {
            let (pod, ip) = start.await.unwrap();
            pods.push(pod);
            addresses.push(ip);
        }
        let attached = begun.elapsed();
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), 100);
        assert_eq!(world.kept().len(), 100);
        let begun = Instant::now();
        let ends = pods.into_iter().map(|pod: Pod| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { pod.end(&world).await })
        });
        for end in ends.collect::<Vec<_>>() {
            end.await.unwrap();
        }
        println!("100 at once: attached in {attached:?}, detached in {:?}", begun.elapsed());
        world.assert_nothing_left();
    });
}

#[test]
fn a_namespace_is_pinned_once_and_removed_as_often_as_one_likes() {
    on_a_host(BRIDGE, |world| async move {
        let networks = &world.networks;
        let pod = world.pod(1).await;
        assert_eq!(networks.namespace_path(&pod.id), pod.path);
        let again = networks.make_namespace(&pod.id).await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);
        let loopback = pod.inside(|| std::net::TcpListener::bind("127.0.0.1:0"));
        loopback.unwrap();
        // A daemon after this one finds it.
        let next = world.with(|_| {});
        next.networks.collect(std::slice::from_ref(&pod.id)).await.unwrap();
        pod.inside(|| ());
        networks.remove_namespace(&pod.id).await.unwrap();
        networks.remove_namespace(&pod.id).await.unwrap();
        // What a crash left between the file and the mount is taken over.
        fs::write(&pod.path, "").unwrap();
        networks.make_namespace(&pod.id).await.unwrap();
        networks.remove_namespace(&pod.id).await.unwrap();

        let id = ContainerId::from_random([9; 32]);
        let path = networks.pin_namespace(&id, Path::new("/proc/thread-self/ns/net")).await;
        assert!(fs::exists(path.unwrap()).unwrap());
        networks.collect(&[]).await.unwrap();
        world.assert_nothing_left();
    });
}
