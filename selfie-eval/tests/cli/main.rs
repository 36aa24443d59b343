//! The built program, from the outside: bad input, a whole small job, Ctrl-C.
#![allow(clippy::unwrap_used, reason = "these are tests, also outside of the test functions")]

mod bad_input;
mod data;
mod end_to_end;
#[cfg(unix)]
mod interrupt;
#[cfg(unix)]
mod kill;
mod memory;
mod place;
#[cfg(unix)]
mod trouble;
