//! The store that several servers share, on a redis-server of the test's own: what one server promises holds for several.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "test code outside of test functions")]

#[path = "../support/redis.rs"]
mod redis_server;
#[path = "../support/mod.rs"]
mod support;

mod basics;
mod failures;
mod flows;
mod killed;
mod nodes;
