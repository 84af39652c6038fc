//! What a kernel does where its callers broke a promise.

/// Ends the process with a message: a kernel met what the checks before it rule out, and has no result that would not
/// be garbage.
///
/// It panics, so that the message reaches the panic hook, and aborts in place of unwinding: callers up the stack may
/// hold pointers into a buffer that was never written.
#[cold]
#[inline(never)]
pub(crate) fn impossible(what: &str) -> ! {
    struct Abort;
    impl Drop for Abort {
        fn drop(&mut self) {
            std::process::abort();
        }
    }
    let _abort = Abort;
    panic!("kiln-kernels: {what}");
}
