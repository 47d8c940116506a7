//! The fakes keep the promises of the ports, so that what is tested on them is tested for real.

use std::{path::PathBuf, sync::Arc};

use oci_spec::runtime::{Process, Spec};

use super::{World, block_on, conformance};
use crate::{
    container::LogConfig,
    id::ContainerId,
    image::ImageConfig,
    ports::{Launch, Records, Rootfs, SandboxRecords},
};

fn process(args: &[&str]) -> Process {
    let mut process = Process::default();
    process.set_args(Some(args.iter().map(|arg| (*arg).to_owned()).collect()));
    process
}

fn launch(id: &ContainerId, args: &[&str]) -> Launch {
    let mut spec = Spec::default();
    spec.set_process(Some(process(args)));
    Launch {
        id: id.clone(),
        runtime: "lcr".to_owned(),
        bundle: PathBuf::from("/bundle"),
        rootfs: Rootfs::Directory(PathBuf::from("/rootfs")),
        seccomp: None,
        spec: Arc::new(spec),
        log: LogConfig::default(),
        cri_log: None,
        open_stdin: true,
        stdin_once: false,
        init: false,
        attach: None,
        restore: None,
    }
}

#[test]
fn the_fake_records_conform() {
    let world = World::new();
    block_on(conformance::records(async || {
        world.records.cut_power();
        Arc::clone(&world.records) as Arc<dyn Records>
    }));
}

#[test]
fn the_fake_records_of_sandboxes_conform() {
    let world = World::new();
    block_on(conformance::sandbox_records(async || {
        world.sandboxes.cut_power();
        Arc::clone(&world.sandboxes) as Arc<dyn SandboxRecords>
    }));
}

#[test]
fn the_fake_store_conforms() {
    let world = World::new();
    let image = world.store.add_image("busybox", ImageConfig::default());
    block_on(conformance::snapshots(world.store.clone(), &image));
    block_on(conformance::images(world.store.clone(), "busybox"));
}

#[test]
fn the_fake_volumes_conform() {
    block_on(conformance::volumes(World::new().volumes));
}

#[test]
fn the_fake_runtime_conforms() {
    block_on(conformance::runtime(World::new().runtime, launch, process));
}

#[test]
fn the_fake_clock_and_randomness_conform() {
    let world = World::new();
    conformance::clock(&*world.clock);
    conformance::entropy(&*world.entropy);
}
