//! Containers on the network `bridge`: they reach each other and the host, and are reached by the
//! ports that they publish. The daemon's host is a network namespace of the test's own.

use std::process::Output;

use anyhow::{Result, ensure};
use isula_tests::{World, host::Host, images};

/// A daemon in a network namespace of its own.
struct Net {
    // Its pin lies in the world's directory and has to go first.
    host: Host,
    world: World,
}

/// On the host.
const BUSYBOX: &str = "/bin/busybox";
/// Serves one word on port 80, over and over.
const SERVER: [&str; 7] = ["nc", "-ll", "-p", "80", "-e", "/bin/echo", "hello"];

impl Net {
    fn new(runtime: &str) -> Result<Self> {
        let mut world = World::bare(&["--default-runtime", runtime])?;
        let host = Host::new(world.path("host-network"))?;
        host.enclose(world.how())?;
        world.start()?;
        world.ok(&["load", "-i", &images::busybox_docker_archive()?.display().to_string()])?;
        Ok(Self { host, world })
    }

    /// The value of a template for a container.
    fn shown(&self, container: &str, template: &str) -> Result<String> {
        self.world.ok(&["inspect", "-f", template, container])
    }

    fn address(&self, container: &str) -> Result<String> {
        self.shown(container, "{{.NetworkSettings.IPAddress}}")
    }

    /// What a server at this address of the host says.
    fn hear(&self, address: &str, port: &str) -> Result<Output> {
        self.host.try_run(&[BUSYBOX, "nc", "-w", "5", address, port])
    }

    /// Starts a server and waits until it answers on its own address.
    fn serve(&self, options: &[&str]) -> Result<()> {
        let run = [&["run", "-d", "--name", "web"], options, &["busybox"], &SERVER].concat();
        self.world.ok(&run)?;
        let ready = "until nc 127.0.0.1 80 </dev/null; do :; done";
        self.world.ok(&["exec", "web", "sh", "-c", ready])?;
        Ok(())
    }

    fn finish(self) -> Result<()> {
        let taken = self.world.path("data/cni/networks/bridge");
        for id in self.world.ok(&["ps", "-aq", "--no-trunc"])?.split_whitespace() {
            self.world.ok(&["rm", "-f", id])?;
        }
        // The engine removes the devices a little later, many at once.
        let gone = "timeout 30 sh -c 'while ip -o link | grep -q veth; do :; done'";
        self.host.run(&["sh", "-c", gone])?;
        let rules = self.host.run(&["nft", "list", "ruleset"])?;
        ensure!(!rules.contains("dnat") && !rules.contains("ip saddr 10.83"), "{rules}");
        for entry in std::fs::read_dir(taken)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            ensure!(!name.starts_with("10."), "the address {name} is still taken");
        }
        for kept in ["state/netns", "data/cni/results"] {
            let left = std::fs::read_dir(self.world.path(kept))?.count();
            ensure!(left == 0, "{left} left in {kept}");
        }
        drop(self.host);
        self.world.finish()
    }
}

both!(
    a_container_has_an_address_and_a_way_out,
    a_published_port_leads_to_the_container_until_it_ends,
);

fn a_container_has_an_address_and_a_way_out(runtime: &str) -> Result<()> {
    let net = Net::new(runtime)?;
    let world = &net.world;
    world.ok(&["run", "-d", "--name", "a", "--network", "bridge", "busybox", "sleep", "1000"])?;
    let address = net.address("a")?;
    ensure!(address.starts_with("10.83."), "{address}");
    for (template, wanted) in [
        ("{{.NetworkSettings.Gateway}}", "10.83.0.1"),
        ("{{.NetworkSettings.Networks.bridge.IPAddress}}", &address),
        ("{{.NetworkSettings.Networks.bridge.IPPrefixLen}}", "16"),
        ("{{.HostConfig.NetworkMode}}", "bridge"),
    ] {
        ensure!(net.shown("a", template)? == wanted, "{template}");
    }
    // Its own name is that of its address, and the default route leads to the host.
    let hosts = world.ok(&["exec", "a", "cat", "/etc/hosts"])?;
    let name = world.ok(&["exec", "a", "hostname"])?;
    ensure!(hosts.contains(&format!("{address}\t{name}")), "{hosts}");
    let ping = |from: &str, to: &str| world.ok(&["exec", from, "ping", "-c1", "-W5", to]);
    ping("a", "10.83.0.1")?;
    // Another address of the host, which is not in the network.
    net.host.run(&["ip", "addr", "add", "192.0.2.1/32", "dev", "lo"])?;
    ping("a", "192.0.2.1")?;
    let host = ["--add-host", "host.internal:host-gateway"];
    let options = [&["run", "-d", "--name", "b", "--network", "bridge"], &host[..]].concat();
    world.ok(&[&options[..], &["busybox", "sleep", "1000"]].concat())?;
    ping("b", &address)?;
    ping("b", "host.internal")?;
    net.host.run(&[BUSYBOX, "ping", "-c1", "-W5", &address])?;
    // Nobody on the bridge is a router but the host.
    let advertised = "/proc/sys/net/ipv6/conf/eth0/accept_ra";
    ensure!(world.ok(&["exec", "a", "cat", advertised])? == "0");
    // Who joins the network of another has its address.
    let joined = world.ok(&["run", "--rm", "--network", "container:a", "busybox", "ip", "addr"])?;
    ensure!(joined.contains(&format!("inet {address}/16")), "{joined}");
    let rows = world.ok(&["ps", "--filter", "network=bridge", "--format", "{{.Names}}"])?;
    ensure!(rows.lines().count() == 2, "{rows}");
    // An end gives the address back, a start takes one anew.
    world.ok(&["stop", "-t", "0", "a"])?;
    ensure!(net.address("a")?.is_empty());
    world.ok(&["start", "a"])?;
    let hosts = world.ok(&["exec", "a", "cat", "/etc/hosts"])?;
    ensure!(hosts.contains(&format!("{}\t{name}", net.address("a")?)), "{hosts}");
    net.finish()
}

fn a_published_port_leads_to_the_container_until_it_ends(runtime: &str) -> Result<()> {
    let mut net = Net::new(runtime)?;
    net.serve(&["-p", "8080:80"])?;
    let hello = |net: &Net, address: &str, port: &str| -> Result<()> {
        let heard = net.hear(address, port)?;
        ensure!(heard.stdout == b"hello\n", "{address}:{port}: {heard:?}");
        Ok(())
    };
    hello(&net, "127.0.0.1", "8080")?;
    net.host.run(&["ip", "addr", "add", "192.0.2.1/32", "dev", "lo"])?;
    hello(&net, "192.0.2.1", "8080")?;
    ensure!(
        net.world.ok(&["ps", "--format", "{{.Ports}}"])? == "0.0.0.0:8080->80/tcp",
        "{}",
        net.world.ok(&["ps"])?
    );
    let shown = net.shown("web", "{{json .NetworkSettings.Ports}}")?;
    ensure!(shown == r#"{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"}]}"#, "{shown}");
    ensure!(net.world.ok(&["port", "web"])? == "80/tcp -> 0.0.0.0:8080");
    ensure!(net.world.ok(&["port", "web", "80"])? == "0.0.0.0:8080");
    net.world.refused(&["port", "web", "81"], 1, "no public port '81/tcp' published for web")?;
    // The container itself reaches its port by the host's address, and others do.
    let itself = net.world.ok(&["exec", "web", "nc", "-w", "5", "192.0.2.1", "8080"])?;
    ensure!(itself == "hello", "{itself}");
    let other = ["run", "--rm", "--network", "bridge", "busybox", "nc", "192.0.2.1", "8080"];
    ensure!(net.world.ok(&other)? == "hello");
    // Nobody else gets the port, and the container that asked for it can be started later.
    let taken = ["run", "-d", "--name", "second", "-p", "8080:80", "busybox", "sleep", "1000"];
    net.world.refused(&taken, 125, "port 8080 of the host is in use by container web")?;
    // It all outlives the daemon.
    net.world.kill_and_restart()?;
    hello(&net, "127.0.0.1", "8080")?;
    net.world.refused(&["start", "second"], 1, "port 8080 of the host is in use")?;
    net.world.ok(&["stop", "-t", "0", "web"])?;
    ensure!(!net.hear("127.0.0.1", "8080")?.status.success());
    net.world.ok(&["start", "second"])?;
    net.finish()
}

#[test]
fn ports_are_chosen_where_nobody_names_them_and_addresses_are_kept_to() -> Result<()> {
    let net = Net::new("lcr")?;
    net.serve(&["-P", "--expose", "80", "-p", "127.0.0.1::81"])?;
    let port = |inner: &str| {
        let template =
            format!("{{{{(index (index .NetworkSettings.Ports \"{inner}\") 0).HostPort}}}}");
        net.shown("web", &template)
    };
    let (chosen, local) = (port("80/tcp")?, port("81/tcp")?);
    ensure!(chosen != local && !chosen.is_empty() && !local.is_empty());
    ensure!(net.hear("127.0.0.1", &chosen)?.stdout == b"hello\n");
    // What is published on loopback alone is not reached by another address.
    net.host.run(&["ip", "addr", "add", "192.0.2.1/32", "dev", "lo"])?;
    net.world.ok(&["rm", "-f", "web"])?;
    net.serve(&["-p", "127.0.0.1:8081:80"])?;
    ensure!(net.hear("127.0.0.1", "8081")?.stdout == b"hello\n");
    ensure!(net.hear("192.0.2.1", "8081")?.stdout.is_empty());
    // A process of the host has the port.
    net.world.ok(&["rm", "-f", "web"])?;
    let mut holder = net.host.command(&[BUSYBOX, "nc", "-l", "-p", "8081"]).spawn()?;
    let waits = "until cat /proc/net/tcp /proc/net/tcp6 | grep -q ':1F91 .* 0A '; do :; done";
    net.host.run(&["sh", "-c", waits])?;
    let run = ["run", "-d", "--name", "web", "-p", "8081:80", "busybox", "sleep", "1000"];
    let refused = net.world.refused(&run, 125, "port 0.0.0.0:8081 of the host is in use");
    holder.kill()?;
    holder.wait()?;
    refused?;
    net.world.ok(&["rm", "web"])?;
    net.finish()
}

#[test]
fn what_a_network_can_not_give_is_refused_with_the_reason() -> Result<()> {
    let net = Net::new("lcr")?;
    fn run<'a>(options: &[&'a str]) -> Vec<&'a str> {
        [&["run", "--rm"], options, &["busybox", "true"]].concat()
    }
    for (options, words) in [
        (&["--network", "nowhere"][..], "no such network: nowhere"),
        (&["--network", "none", "-p", "80:80"], "conflicting options: publish and network none"),
        (&["--network", "host", "-P"], "conflicting options: publish-all and network host"),
        (&["--network", "bridge", "--network", "none"], "one network in this version"),
        (&["-p", "[::1]:80:80"], "the container's network has no address of this kind"),
        (&["--network", "a/b"], "invalid network \"a/b\""),
        (&["-p", "80:80", "-p", "80:81"], "the port of the host is named twice"),
        (&["--ip", "10.1.1.1"], "10.1.1.1"),
        (&["--network", "bridge", "--mac-address", "x"], "it must be six bytes"),
        (&["-p", "192.0.2.77:80:80"], "port 192.0.2.77:80 of the host can't be published"),
    ] {
        net.world.refused(&run(options), 125, words)?;
    }
    let chosen = run(&["--ip", "10.83.7.7", "--mac-address", "02:00:00:00:00:07"]);
    let mut chosen = chosen[..chosen.len() - 1].to_vec();
    chosen.extend(["ip", "addr", "show", "eth0"]);
    let shown = net.world.ok(&chosen)?;
    ensure!(shown.contains("inet 10.83.7.7/16") && shown.contains("02:00:00:00:00:07"), "{shown}");
    net.finish()
}

#[test]
fn a_port_is_free_as_soon_as_its_container_has_ended() -> Result<()> {
    let net = Net::new("lcr")?;
    for _ in 0..20 {
        net.world.ok(&["run", "--rm", "-p", "8080:80", "busybox", "true"])?;
    }
    // One that fails to start leaves nothing, either.
    let wrong = ["run", "--rm", "-p", "8080:80", "busybox", "/nonsense"];
    net.world.refused(&wrong, 127, "/nonsense")?;
    net.world.ok(&["run", "--rm", "-p", "8080:80", "busybox", "true"])?;
    net.finish()
}

#[test]
fn many_containers_come_and_go_at_once() -> Result<()> {
    let net = Net::new("lcr")?;
    let clients: Vec<_> = (0..30)
        .map(|_| {
            net.world
                .isula(&["run", "--rm", "-p", "80", "busybox", "true"])?
                .spawn()
                .map_err(Into::into)
        })
        .collect::<Result<_>>()?;
    for mut client in clients {
        let status = client.wait()?;
        ensure!(status.success(), "{status}");
    }
    net.finish()
}

/// What listens on loopback trusts the host's own processes. Ports that are published there make the
/// kernel route loopback addresses, which a container with `NET_RAW` could send packets to
/// (CVE-2020-8558).
#[test]
fn no_container_reaches_the_hosts_loopback_addresses() -> Result<()> {
    let net = Net::new("lcr")?;
    net.serve(&["-p", "127.0.0.1:8080:80"])?;
    let serve = [BUSYBOX, "nc", "-ll", "-p", "9000", "-e", "/bin/echo", "secret"];
    let mut server = net.host.command(&serve).spawn()?;
    let attack = "ip addr del 127.0.0.1/8 dev lo
        for device in all eth0; do echo 1 >/proc/sys/net/ipv4/conf/$device/route_localnet; done
        ip route add 127.0.0.0/8 via 10.83.0.1 src $(hostname -i)
        nc -w 3 10.83.0.1 9000 </dev/null || exit 2
        nc -w 3 127.0.0.1 9000 </dev/null";
    let waits = "until nc 127.0.0.1 9000 </dev/null | grep -q secret; do :; done";
    let ready = net.host.run(&[BUSYBOX, "sh", "-c", waits]);
    let run = ["run", "--rm", "--privileged", "--network", "bridge", "busybox", "sh", "-c", attack];
    let found = net.world.run(&run);
    // Without what stops it the attack succeeds.
    let flush = net.host.run(&["nft", "flush", "chain", "ip", "cni_hostport", "loopback_guard"]);
    let proof = net.world.run(&run);
    server.kill()?;
    server.wait()?;
    ready?;
    flush?;
    let (found, proof) = (found?, proof?);
    ensure!(found.code == 1 && found.stdout == "secret\n", "{found:#?}");
    ensure!(proof.code == 0 && proof.stdout == "secret\nsecret\n", "{proof:#?}");
    ensure!(net.hear("127.0.0.1", "8080")?.stdout == b"hello\n");
    net.finish()
}
