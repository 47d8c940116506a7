//! The filters of the profiles used last: most containers share one.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use oci_spec::runtime::LinuxSeccomp;

use super::{Filter, SeccompError, compile};

/// Profiles that are kept; a filter is 1 to 5 KiB.
const CAPACITY: usize = 16;

/// A profile to be compiled.
#[derive(Debug, Clone, Copy)]
pub enum Profile<'a> {
    /// One of many containers: it is known again by where it is.
    Shared(&'a Arc<LinuxSeccomp>),
    /// One of its own.
    Own(&'a LinuxSeccomp),
}

impl Profile<'_> {
    /// The profile itself.
    #[must_use]
    pub fn get(&self) -> &LinuxSeccomp {
        match self {
            Self::Shared(profile) => profile,
            Self::Own(profile) => profile,
        }
    }
}

/// A small cache in front of [`compile`], for a process that starts many containers.
///
/// Profiles are told apart by 128 bits of two keyed hashes, whose keys nobody outside knows.
pub struct FilterCache {
    keys: [RandomState; 2],
    /// The one used last is at the end.
    filters: Mutex<Vec<Kept>>,
}

struct Kept {
    fingerprint: Fingerprint,
    /// Where a shared profile is, which nothing else can be while it is kept.
    shared: Option<Arc<LinuxSeccomp>>,
    filter: Arc<Filter>,
}

type Fingerprint = [u64; 2];

impl FilterCache {
    /// An empty cache.
    #[must_use]
    pub fn new() -> Self {
        Self { keys: [RandomState::new(), RandomState::new()], filters: Mutex::new(Vec::new()) }
    }

    /// The filter of `profile`, compiled now or before. What fails is not remembered.
    ///
    /// # Errors
    /// Those of [`compile`].
    pub fn get(&self, profile: Profile<'_>) -> Result<Arc<Filter>, SeccompError> {
        let shared = match profile {
            Profile::Shared(shared) => Some(shared),
            Profile::Own(_) => None,
        };
        let same = |known: &Kept| match (&known.shared, shared) {
            (Some(known), Some(shared)) => Arc::ptr_eq(known, shared),
            _ => false,
        };
        if let Some(filter) = shared.and_then(|_| self.find(same)) {
            return Ok(filter);
        }
        let fingerprint = self.fingerprint(profile.get());
        if let Some(filter) = self.find(|known| known.fingerprint == fingerprint) {
            return Ok(filter);
        }
        // Not under the lock: two that miss at once do the same work, and nobody waits.
        let filter = Arc::new(compile(profile.get())?);
        let mut filters = self.filters.lock().unwrap_or_else(PoisonError::into_inner);
        if filters.iter().all(|known| known.fingerprint != fingerprint) {
            if filters.len() >= CAPACITY {
                filters.remove(0);
            }
            let (shared, filter) = (shared.cloned(), Arc::clone(&filter));
            filters.push(Kept { fingerprint, shared, filter });
        }
        Ok(filter)
    }

    fn find(&self, is: impl Fn(&Kept) -> bool) -> Option<Arc<Filter>> {
        let mut filters = self.filters.lock().unwrap_or_else(PoisonError::into_inner);
        let at = filters.iter().position(is)?;
        let entry = filters.remove(at);
        let filter = Arc::clone(&entry.filter);
        filters.push(entry);
        Some(filter)
    }

    fn fingerprint(&self, profile: &LinuxSeccomp) -> Fingerprint {
        self.keys.each_ref().map(|key| {
            let mut hasher = key.build_hasher();
            hash(profile, &mut hasher);
            hasher.finish()
        })
    }
}

impl Default for FilterCache {
    fn default() -> Self {
        Self::new()
    }
}

/// Everything of the profile that [`compile`] looks at.
fn hash(profile: &LinuxSeccomp, hasher: &mut impl Hasher) {
    (profile.default_action() as u32).hash(hasher);
    profile.default_errno_ret().hash(hasher);
    profile.listener_path().hash(hasher);
    profile.listener_metadata().hash(hasher);
    let architectures = profile.architectures().as_ref();
    architectures.map(|all| all.iter().map(|one| *one as u32).collect::<Vec<_>>()).hash(hasher);
    let flags = profile.flags().as_ref();
    flags.map(|all| all.iter().map(|one| *one as u32).collect::<Vec<_>>()).hash(hasher);
    let syscalls = profile.syscalls().as_deref().unwrap_or_default();
    syscalls.len().hash(hasher);
    for syscall in syscalls {
        syscall.names().hash(hasher);
        (syscall.action() as u32).hash(hasher);
        syscall.errno_ret().hash(hasher);
        let args = syscall.args().as_deref().unwrap_or_default();
        args.len().hash(hasher);
        for arg in args {
            (arg.index(), arg.value(), arg.value_two(), arg.op() as u32).hash(hasher);
        }
    }
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::{
        LinuxSeccompAction as Action, LinuxSeccompArgBuilder, LinuxSeccompBuilder,
        LinuxSeccompOperator as Operator, LinuxSyscallBuilder,
    };

    use super::*;

    fn profile(value: u64) -> LinuxSeccomp {
        let arg = LinuxSeccompArgBuilder::default()
            .index(0_usize)
            .value(value)
            .op(Operator::ScmpCmpEq)
            .build()
            .unwrap();
        let syscall = LinuxSyscallBuilder::default()
            .names(vec!["socket".to_owned()])
            .action(Action::ScmpActAllow)
            .args(vec![arg])
            .build()
            .unwrap();
        LinuxSeccompBuilder::default()
            .default_action(Action::ScmpActErrno)
            .syscalls(vec![syscall])
            .build()
            .unwrap()
    }

    #[test]
    fn the_same_profile_is_compiled_once_and_another_gets_its_own_filter() {
        let cache = FilterCache::new();
        let first = cache.get(Profile::Own(&profile(1))).unwrap();
        assert!(Arc::ptr_eq(&first, &cache.get(Profile::Own(&profile(1))).unwrap()));
        let other = cache.get(Profile::Own(&profile(2))).unwrap();
        assert_ne!(first.program, other.program);
        assert_eq!(*other, compile(&profile(2)).unwrap());
    }

    #[test]
    fn a_shared_profile_is_known_by_its_place_and_by_its_content() {
        let cache = FilterCache::new();
        let (one, twin, other) = (Arc::new(profile(1)), Arc::new(profile(1)), Arc::new(profile(2)));
        let first = cache.get(Profile::Shared(&one)).unwrap();
        for same in [Profile::Shared(&one), Profile::Shared(&twin), Profile::Own(&one)] {
            assert!(Arc::ptr_eq(&first, &cache.get(same).unwrap()));
        }
        assert_eq!(*cache.get(Profile::Shared(&other)).unwrap(), compile(&other).unwrap());
    }

    #[test]
    fn the_cache_keeps_what_was_used_last_and_does_not_grow() {
        let cache = FilterCache::new();
        let first = cache.get(Profile::Own(&profile(0))).unwrap();
        for value in 1..100 {
            cache.get(Profile::Own(&profile(value))).unwrap();
            assert!(Arc::ptr_eq(&first, &cache.get(Profile::Own(&profile(0))).unwrap()));
        }
        assert_eq!(cache.filters.lock().unwrap().len(), CAPACITY);
    }
}
