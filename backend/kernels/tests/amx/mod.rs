//! The instructions of AMX with bf16, executed by the handler of the signal that a CPU without them raises.
//!
//! [`install`] makes SIGILL decode the instruction at the program counter. The seven instructions that the library uses
//! (LDTILECFG, STTILECFG, TILERELEASE, TILEZERO, TILELOADD and TILELOADDT1, TILESTORED, TDPBF16PS: Intel SDM, volume 2)
//! are executed on tiles of the thread, and everything else goes to the handler that was there before. What the CPU
//! would answer with a fault (a configuration beyond palette 1, tiles whose shapes do not fit) ends the process with a
//! message.
//!
//! The handler calls nothing that is not async-signal-safe: it reads and writes memory of its thread, and may call
//! `write` and `abort`.

mod decode;
mod tiles;

use core::cell::UnsafeCell;
use decode::{Decoded, Op, decode};
use std::sync::{Once, OnceLock};
use tiles::TileState;

thread_local! {
    /// Constant and without a destructor: reading it takes no lock and allocates nothing.
    static STATE: UnsafeCell<TileState> = const { UnsafeCell::new(TileState::INIT) };
}

static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

/// From now on, illegal instructions of AMX are executed.
pub fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: both structures are plain data, valid when zero; the handler has the signature that SA_SIGINFO asks
        // for.
        unsafe {
            let mut previous: libc::sigaction = core::mem::zeroed();
            libc::sigaction(libc::SIGILL, core::ptr::null(), &mut previous);
            assert!(PREVIOUS.set(previous).is_ok());
            let mut action: libc::sigaction = core::mem::zeroed();
            action.sa_sigaction = handle as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            libc::sigemptyset(&mut action.sa_mask);
            assert_eq!(libc::sigaction(libc::SIGILL, &action, core::ptr::null_mut()), 0);
        }
    });
}

/// Executes one instruction of AMX and steps over it.
extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes the interrupted thread's registers, to which it returns afterwards.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let rip = registers[libc::REG_RIP as usize];
    // SAFETY: the thread was executing there.
    let Some(Decoded { op, len }) = (unsafe { decode(rip as *const u8, registers) }) else {
        return pass_on(signal, info, context);
    };
    STATE.with(|state| {
        // SAFETY: the state is this thread's, and this handler, which does not interrupt itself, is all that touches
        // it.
        let state = unsafe { &mut *state.get() };
        // SAFETY: the program asked the CPU to touch that memory.
        unsafe {
            match op {
                Op::LoadConfig(p) => state.load_config(p),
                Op::StoreConfig(p) => state.store_config(p),
                Op::Release => *state = TileState::INIT,
                Op::Zero(tile) => state.zero(tile),
                Op::Load(tile, memory) => state.load(tile, memory),
                Op::Store(tile, memory) => state.store(tile, memory),
                Op::Dot { c, a, b } => state.dot(c, a, b),
            }
        }
    });
    registers[libc::REG_RIP as usize] = rip + len as i64;
}

/// Leaves the signal to the handler that was there before.
fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let previous = PREVIOUS.get().map_or(libc::SIG_DFL, |previous| previous.sa_sigaction);
    // SAFETY: with the default action the instruction runs again and ends the process; else it is a handler's address,
    // whose arguments are as it expects: one of one argument ignores the rest.
    unsafe {
        if previous == libc::SIG_DFL || previous == libc::SIG_IGN {
            libc::signal(signal, libc::SIG_DFL);
            return;
        }
        type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
        core::mem::transmute::<usize, Handler>(previous)(signal, info, context);
    }
}

/// Ends the process with a message, as a handler may.
fn fault(what: &str) -> ! {
    // SAFETY: both are async-signal-safe.
    unsafe {
        for part in ["AMX fault: ", what, "\n"] {
            libc::write(2, part.as_ptr().cast(), part.len());
        }
        libc::abort()
    }
}
