//! What is asked of an engine, in words that all of them understand.

use std::{path::PathBuf, process::Command};

/// An operation of a container's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// The client tells its version.
    Version,
    /// Everything but the process.
    Create,
    /// The process of a container that was created.
    Start,
    /// A further process, which ends at once.
    Exec,
    /// Ends a process that ignores SIGTERM, without waiting for it.
    StopNow,
    /// Ends a process that ends at SIGTERM.
    StopPolite,
    /// Takes away a container that has stopped.
    Remove,
    /// Create and start in one.
    RunDetached,
    /// Stop and remove in one.
    RemoveForce,
    /// A whole life: the process ends at once.
    RunRemove,
}

impl Op {
    /// The name of its row.
    pub const fn row(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Create => "create",
            Self::Start => "start",
            Self::Exec => "exec",
            Self::StopNow => "stop -t 0",
            Self::StopPolite => "stop",
            Self::Remove => "rm",
            Self::RunDetached => "run -d",
            Self::RemoveForce => "rm -f",
            Self::RunRemove => "run --rm",
        }
    }
}

/// What the first process of a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// As process 1 it never sees SIGTERM.
    Deaf,
    /// Ends at SIGTERM.
    Polite,
    /// Ends at once.
    Brief,
}

impl Program {
    /// Its arguments, which every shell and configuration file can hold.
    pub fn arguments(self) -> Vec<&'static str> {
        match self {
            Self::Deaf => vec!["/bin/sleep", "100000"],
            Self::Polite => {
                vec!["/bin/sh", "-c", "trap 'exit 0' TERM; /bin/sleep 100000 & wait"]
            }
            Self::Brief => vec!["/bin/true"],
        }
    }
}

/// The container that is meant.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// What it runs.
    pub program: Program,
    /// Its network: `none`, or one that the engine names.
    pub network: &'static str,
}

impl Target {
    /// A container without a network.
    pub fn new(name: impl Into<String>, program: Program) -> Self {
        Self { name: name.into(), program, network: "none" }
    }
}

/// One step of an operation. Most have a single one.
pub enum Step {
    /// A client to run.
    Run(Box<Command>),
    /// The processes of this control group must have ended.
    Gone(PathBuf),
}

/// An operation on images.
#[derive(Clone, Debug)]
pub enum ImageOp<'a> {
    /// From a registry on loopback.
    Pull(&'a str),
    /// From an archive of `docker save`.
    Load(&'a str),
    /// To an archive.
    Save(&'a str, &'a str),
    /// The root file system of a container to an archive.
    Export(&'a str, &'a str),
    /// A container of an image, never started.
    Create(&'a str, &'a str),
    /// Takes that container away.
    RemoveContainer(&'a str),
    /// Takes away an image.
    Remove(&'a str),
}
