//! What operators see of the service: its metrics, and whether it is ready.

mod figures;
mod ready;
