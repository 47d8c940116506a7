//! The command line of the daemon.

use std::path::PathBuf;

use clap::Parser;

/// The container engine daemon.
#[derive(Debug, Default, Parser)]
#[command(name = "isulad", version, about, disable_help_subcommand = true)]
pub struct Flags {
    /// Configuration file; flags override it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Where to listen, unix://PATH; may be given several times
    #[arg(short = 'H', long = "host", value_name = "URL")]
    pub hosts: Vec<String>,

    /// Where containers, images and volumes are kept
    #[arg(long, visible_alias = "data-root", short = 'g', value_name = "DIR")]
    pub graph: Option<PathBuf>,

    /// Where the state of what runs is kept; may vanish with a restart of the machine
    #[arg(long, visible_alias = "exec-root", value_name = "DIR")]
    pub state: Option<PathBuf>,

    /// FATAL, ALERT, CRIT, ERROR, WARN, NOTICE, INFO, DEBUG or TRACE
    #[arg(short = 'l', long, value_name = "LEVEL")]
    pub log_level: Option<String>,

    /// The same as --log-level DEBUG
    #[arg(short = 'D', long, conflicts_with = "log_level")]
    pub debug: bool,

    /// Where the daemon's own log goes: stdout or file
    #[arg(long, value_name = "DRIVER")]
    pub log_driver: Option<String>,

    /// Where the daemon's process id is written
    #[arg(short = 'p', long, value_name = "FILE")]
    pub pidfile: Option<PathBuf>,

    /// Group of the socket
    #[arg(short = 'G', long, value_name = "GROUP")]
    pub group: Option<String>,

    /// Runtime of containers that ask for none
    #[arg(long, value_name = "NAME")]
    pub default_runtime: Option<String>,

    /// A mirror of docker.io, tried first; may be given several times
    #[arg(long = "registry-mirror", value_name = "URL")]
    pub registry_mirrors: Vec<String>,

    /// A registry that may speak plain http; may be given several times
    #[arg(long = "insecure-registry", value_name = "HOST[:PORT]")]
    pub insecure_registries: Vec<String>,

    /// Cgroup below which containers are made; a slice with --systemd-cgroup
    #[arg(long, value_name = "CGROUP")]
    pub cgroup_parent: Option<String>,

    /// Let systemd make the cgroups of containers and pods
    #[arg(long)]
    pub systemd_cgroup: bool,

    /// The program isulad-shim; beside this program, or in /usr/bin, when absent
    #[arg(long, value_name = "FILE")]
    pub shim: Option<PathBuf>,

    /// Only check the configuration
    #[arg(long)]
    pub validate: bool,
}
