//! What sandboxes and their containers use.

use isula_api::runtime::v1;
use isula_core::{
    container::Container,
    sandbox::{ContainerStats, Sandbox, SandboxFilter, SandboxStats},
};
use tonic::Status;

use super::{
    Cri,
    convert::{self, counted, pod::Shown, stats::At},
};
use crate::api::status;

impl Cri {
    pub(super) async fn stats_of(&self, query: &str) -> Result<v1::ContainerStats, Status> {
        let stats = self.engine.member_stats(query).await;
        let stats = stats.map_err(|error| status::of(&error))?;
        let container = self.engine.member(stats.id.as_str());
        let container = container.map_err(|error| status::of(&error))?;
        Ok(self.container_stats_of(&container, &stats))
    }

    pub(super) async fn stats(
        &self,
        filter: Option<v1::ContainerStatsFilter>,
    ) -> Vec<v1::ContainerStats> {
        let filter = convert::container::stats_filter(filter);
        let all = self.engine.list_member_stats(&filter).await;
        all.iter().filter_map(|stats| self.stats_if_there(stats)).collect()
    }

    /// Nothing of a container that was removed meanwhile.
    fn stats_if_there(&self, stats: &ContainerStats) -> Option<v1::ContainerStats> {
        let container = self.engine.member(stats.id.as_str()).ok()?;
        Some(self.container_stats_of(&container, stats))
    }

    fn container_stats_of(
        &self,
        container: &Container,
        stats: &ContainerStats,
    ) -> v1::ContainerStats {
        let at = convert::nanoseconds(stats.at);
        let usage = stats.usage.as_ref();
        v1::ContainerStats {
            attributes: self.shown(container, |shown| shown.into()),
            cpu: usage.map(|usage| At(at, usage).into()),
            memory: usage.map(|usage| At(at, usage).into()),
            writable_layer: stats
                .filesystem
                .as_ref()
                .map(|layer| convert::stats::filesystem(at, layer)),
            swap: usage.map(|usage| At(at, usage).into()),
            io: usage.map(|usage| At(at, usage).into()),
        }
    }

    pub(super) async fn pod_stats_of(&self, query: &str) -> Result<v1::PodSandboxStats, Status> {
        let stats = self.engine.sandbox_stats(query).await;
        let stats = stats.map_err(|error| status::of(&error))?;
        let sandbox = self.engine.sandbox(stats.id.as_str());
        let sandbox = sandbox.map_err(|error| status::of(&error))?;
        Ok(self.sandbox_stats_of(&sandbox, &stats))
    }

    pub(super) async fn pod_stats(
        &self,
        filter: Option<v1::PodSandboxStatsFilter>,
    ) -> Vec<v1::PodSandboxStats> {
        let filter = filter.unwrap_or_default();
        let filter = SandboxFilter {
            id: convert::some(filter.id),
            ready: Some(true),
            labels: filter.label_selector.into_iter().collect(),
        };
        let all = self.engine.list_sandbox_stats(&filter).await;
        let there = |stats: &SandboxStats| {
            let sandbox = self.engine.sandbox(stats.id.as_str()).ok()?;
            Some(self.sandbox_stats_of(&sandbox, stats))
        };
        all.iter().filter_map(there).collect()
    }

    fn sandbox_stats_of(&self, sandbox: &Sandbox, stats: &SandboxStats) -> v1::PodSandboxStats {
        let at = convert::nanoseconds(stats.at);
        let usage = stats.usage.as_ref();
        let containers = stats.containers.iter().filter_map(|one| self.stats_if_there(one));
        let linux = v1::LinuxPodSandboxStats {
            cpu: usage.map(|usage| At(at, usage).into()),
            memory: usage.map(|usage| At(at, usage).into()),
            network: Some(convert::stats::network(at, &stats.network)),
            process: usage.map(|usage| v1::ProcessUsage {
                timestamp: at,
                process_count: counted(usage.pids),
            }),
            containers: containers.collect(),
            io: usage.map(|usage| At(at, usage).into()),
        };
        v1::PodSandboxStats {
            attributes: Some(Shown(sandbox).into()),
            linux: Some(linux),
            windows: None,
        }
    }
}
