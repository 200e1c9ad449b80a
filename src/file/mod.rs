//! Files of any kind as channels: pipes, FIFOs, terminals, devices, regular files.

mod blocking;
mod dispatcher;
mod wrapper;

pub use dispatcher::FileDispatcher;
pub use wrapper::FileWrapper;
