#![no_main]

#[path = "../targets.rs"]
mod targets;

use std::sync::Once;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    static HOOK: Once = Once::new();
    // In place of libFuzzer's own, which would end at panics that the library catches.
    HOOK.call_once(|| {
        let _ = std::panic::take_hook();
        targets::watch_panics(|| std::process::abort());
    });
    targets::template_message(data)
});
