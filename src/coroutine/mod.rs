//! Coroutines: futures that a loop polls beside its channels.

mod descriptor;
mod executor;
mod handle;
mod net;
mod sleep;
mod slot;
mod source;
mod task;

pub use descriptor::Async;
pub use handle::Handle;
pub use net::Listener;
pub use sleep::{Interval, Sleep};
pub use task::JoinHandle;
