//! Python's own loops, for the echo.

/// `(name, script)`: the scripts are in `python/`.
pub const PYTHON: &[(&str, &str)] = &[
    (
        "asyncore/poll",
        include_str!("../../python/echo_asyncore.py"),
    ),
    (
        "asyncio/epoll",
        include_str!("../../python/echo_asyncio.py"),
    ),
];
