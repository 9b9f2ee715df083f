//! What operators see of the service: its metrics, what is made of them, and whether it is ready.

mod expressions;
mod figures;
mod ready;
mod shown;
mod store;
