//! Holds engines to as many cores as they have threads, child processes too: a gauge of the cores' state sees the cores
//! that it runs on, and two threads of three cores would wander.

use kiln_kernels::Cores;

/// Holds the calling thread, and the threads and processes that it starts from now on, to one logical CPU of each of
/// `threads` physical cores. Returns those CPUs; `None`, and nothing changes, where there are not so many cores or the
/// system does not tell them.
pub fn hold_to_cores(threads: usize) -> Option<Vec<usize>> {
    let cpus: Vec<usize> = Cores::detect().cpus.iter().take(threads).filter_map(|core| core.first().copied()).collect();
    (cpus.len() == threads && hold_to(&cpus)).then_some(cpus)
}

/// Lets the calling thread run on every CPU that the process could use at its start, as before [`hold_to_cores`].
pub fn release() -> bool {
    hold_to(&Cores::detect().cpus.concat())
}

/// Holds the calling thread to these CPUs.
#[cfg(target_os = "linux")]
pub fn hold_to(cpus: &[usize]) -> bool {
    // SAFETY: the set is plain bits, and zero is an empty one.
    let mut set: libc::cpu_set_t = unsafe { core::mem::zeroed() };
    let size = size_of::<libc::cpu_set_t>();
    for &cpu in cpus {
        if cpu >= 8 * size {
            return false;
        }
        // SAFETY: `cpu` is a bit of the set.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    // SAFETY: the set is initialised and of the size that is passed; 0 is the calling thread.
    unsafe { libc::sched_setaffinity(0, size, &set) == 0 }
}

/// No other system is asked.
#[cfg(not(target_os = "linux"))]
pub fn hold_to(_cpus: &[usize]) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_and_its_children_are_held() {
        let cores = Cores::detect().cpus.len();
        let held = std::thread::spawn(|| {
            let cpus = hold_to_cores(1)?;
            let available = std::thread::spawn(std::thread::available_parallelism).join().expect("it only counts");
            let held = (cpus.len(), available.map_or(0, |cpus| cpus.get()));
            let all = Cores::detect().cpus.concat().len();
            assert!(release() && std::thread::available_parallelism().is_ok_and(|free| free.get() == all));
            Some(held)
        });
        let held = held.join().expect("it only asks");
        assert_eq!(held.is_some(), cfg!(target_os = "linux") && cores > 0);
        assert!(held.is_none_or(|held| held == (1, 1)));
        assert!(hold_to_cores(cores + 1).is_none());
        assert!(!hold_to(&[usize::MAX]) && !hold_to(&[]));
    }
}
