//! What a panic says, put into the log: the trap that it ends in tells only where it happened.

/// Has panics logged from now on.
pub(crate) fn are_logged() {
    #[cfg(target_arch = "wasm32")]
    std::panic::set_hook(Box::new(|panic| crate::log::error(&panic.to_string())));
}
