//! Physical cores: what products and everything else that computes get a thread each of.
//!
//! Two hyperthreads of a core share its multipliers, its first two caches and its connection to memory. One thread
//! fills the multipliers of a core by itself, and a second one halves what each has of the caches that blocks are sized
//! for.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::path::Path;
use std::sync::OnceLock;
use std::thread::available_parallelism;

/// The physical cores that this process may use, each with those of its logical CPUs that it may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cores {
    /// Logical CPUs of each core, as the system numbers them; empty where the system does not tell.
    pub cpus: Vec<Vec<usize>>,
    /// How many threads compute at their best: one for each core, and no more than the process's share of processor
    /// time has room for.
    pub count: usize,
}

impl Cores {
    /// The cores of this machine, read once: on Linux from sysfs, as far as the affinity of the calling thread and the
    /// quota of its control groups allow; elsewhere as the system counts them. Where nothing can be read, every logical
    /// CPU counts.
    pub fn detect() -> &'static Self {
        static CORES: OnceLock<Cores> = OnceLock::new();
        CORES.get_or_init(|| {
            let available = available_parallelism().map_or(1, NonZero::get);
            #[cfg(target_os = "linux")]
            return Self::read(Path::new("/"), available);
            #[cfg(not(target_os = "linux"))]
            return Self { cpus: Vec::new(), count: num_cpus::get_physical().clamp(1, available) };
        })
    }

    /// Reads `proc` and `sys` of `root`; `available` logical CPUs are allowed by affinity and quota.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code))]
    fn read(root: &Path, available: usize) -> Self {
        let cpus = read_allowed(root).and_then(|allowed| group(root, &allowed)).unwrap_or_default();
        let count = if cpus.is_empty() { available } else { available.min(cpus.len()) };
        Self { cpus, count: count.max(1) }
    }
}

/// Logical CPUs that the calling thread may run on.
fn read_allowed(root: &Path) -> Option<Vec<usize>> {
    let status = std::fs::read_to_string(root.join("proc/thread-self/status")).ok()?;
    parse_list(status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?)
}

/// Those CPUs by core, cores in the order of their first CPU; `None` where one has no topology.
fn group(root: &Path, allowed: &[usize]) -> Option<Vec<Vec<usize>>> {
    let (mut seen, mut cores) = (BTreeSet::<usize>::new(), Vec::new());
    for &cpu in allowed {
        if seen.contains(&cpu) {
            continue;
        }
        let folder = root.join(format!("sys/devices/system/cpu/cpu{cpu}/topology"));
        // The second name is that of kernels before 5.1, which still have it.
        let siblings = ["core_cpus_list", "thread_siblings_list"]
            .iter()
            .find_map(|name| parse_list(&std::fs::read_to_string(folder.join(name)).ok()?))?;
        let core: Vec<usize> = allowed.iter().copied().filter(|cpu: &usize| siblings.contains(cpu)).collect();
        // A core whose list does not have the CPU itself is nonsense.
        if !core.contains(&cpu) {
            return None;
        }
        seen.extend(&core);
        cores.push(core);
    }
    Some(cores).filter(|cores| !cores.is_empty())
}

/// Numbers of a list as the kernel writes it: `0-3,8,10-11`. No machine has more than some thousand CPUs.
fn parse_list(text: &str) -> Option<Vec<usize>> {
    let mut numbers = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        if last < first || last >= 1 << 16 {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

/// The most threads that an op takes of rayon's global pool, where nobody chose its size: rayon makes it as large as
/// there are logical CPUs. `None` where somebody chose, and in a pool of the caller's own.
pub(crate) fn limit_of_global_pool() -> Option<usize> {
    static LIMIT: OnceLock<Option<usize>> = OnceLock::new();
    if rayon::current_thread_index().is_some() {
        return None;
    }
    *LIMIT.get_or_init(|| {
        let chosen = std::env::var_os("RAYON_NUM_THREADS").is_some()
            || available_parallelism().map_or(1, NonZero::get) != rayon::current_num_threads();
        (!chosen).then(|| Cores::detect().count)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A tree of a machine: the CPUs that are allowed, and the core's list of each CPU in a file of that name.
    fn tree(allowed: &str, file: &str, lists: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("proc/thread-self")).unwrap();
        let status = format!("Name:\tkiln\nCpus_allowed:\tff\nCpus_allowed_list:\t{allowed}\nMems_allowed_list:\t0\n");
        fs::write(root.path().join("proc/thread-self/status"), status).unwrap();
        for (cpu, list) in lists.iter().enumerate() {
            let folder = root.path().join(format!("sys/devices/system/cpu/cpu{cpu}/topology"));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(file), format!("{list}\n")).unwrap();
        }
        root
    }

    /// The i5-10210U: CPUs 0 and 4 are of one core, and so on.
    const I5: [&str; 8] = ["0,4", "1,5", "2,6", "3,7", "0,4", "1,5", "2,6", "3,7"];

    #[test]
    fn hyperthreads_are_of_one_core() {
        for file in ["core_cpus_list", "thread_siblings_list"] {
            let cores = Cores::read(tree("0-7", file, &I5).path(), 8);
            assert_eq!((cores.count, cores.cpus), (4, vec![vec![0, 4], vec![1, 5], vec![2, 6], vec![3, 7]]));
        }
        let neighbours = Cores::read(tree("0-3", "core_cpus_list", &["0-1", "0-1", "2-3", "2-3"]).path(), 4);
        assert_eq!((neighbours.count, neighbours.cpus.len()), (2, 2));
        // Two performance cores with two threads, four others with one.
        let hybrid = ["0-1", "0-1", "2-3", "2-3", "4", "5", "6", "7"];
        assert_eq!(Cores::read(tree("0-7", "core_cpus_list", &hybrid).path(), 8).count, 6);
    }

    #[test]
    fn affinity_and_quota_limit_them() {
        let cores = Cores::read(tree("1,5,6", "core_cpus_list", &I5).path(), 3);
        assert_eq!((cores.count, cores.cpus), (2, vec![vec![1, 5], vec![6]]));
        // A quota of two and a half processors: the standard library says 2.
        assert_eq!(Cores::read(tree("0-7", "core_cpus_list", &I5).path(), 2).count, 2);
    }

    #[test]
    fn without_a_topology_every_cpu_counts() {
        let unknown = |root: &Path| Cores::read(root, 8) == Cores { cpus: Vec::new(), count: 8 };
        assert!(unknown(Path::new("/nonexistent")));
        assert!(unknown(tree("0-7", "other", &I5).path()));
        assert!(unknown(tree("0-8", "core_cpus_list", &I5).path()), "a CPU without a folder");
        assert!(unknown(tree("0-7", "core_cpus_list", &["9"; 8]).path()), "a list without its CPU");
        for list in ["", "x", "3-1", "0-99999999999", "-1", "0-7,"] {
            assert!(unknown(tree(list, "core_cpus_list", &I5).path()), "{list}");
        }
    }

    #[test]
    fn this_machine_has_one() {
        let cores = Cores::detect();
        assert!((1..=available_parallelism().map_or(1, NonZero::get)).contains(&cores.count), "{cores:?}");
        assert!(cores.cpus.is_empty() || cores.cpus.len() >= cores.count, "{cores:?}");
    }

    #[test]
    fn a_pool_of_the_callers_own_is_not_limited() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        assert_eq!(pool.install(limit_of_global_pool), None);
    }
}
