//! Ctrl-C, and what the system sends to end a program.

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

static REQUESTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// What a program that was interrupted exits with: 128 + SIGINT.
pub(super) const EXIT_CODE: u8 = 130;

/// From now on the first Ctrl-C is only noted, so that the command can end in order; the second one ends it at once.
pub(super) fn watch() {
    for signal in [SIGINT, SIGTERM] {
        // Where a signal cannot be watched it ends the program, and what is half written still is not under the user's name.
        let _unwatched = flag::register_conditional_shutdown(signal, EXIT_CODE.into(), Arc::clone(&REQUESTED))
            .and_then(|_| flag::register(signal, Arc::clone(&REQUESTED)));
    }
}

/// Whether the user wants to stop.
pub(super) fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}
