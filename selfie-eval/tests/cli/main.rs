//! The built program, from the outside: bad input, a whole small job, Ctrl-C.
#![allow(clippy::unwrap_used, reason = "these are tests, also outside of the test functions")]

mod bad_input;
mod compare;
mod data;
#[cfg(unix)]
mod embed;
mod end_to_end;
mod export;
mod foreign;
mod hub;
mod import;
#[cfg(unix)]
mod interrupt;
#[cfg(unix)]
mod kill;
mod memory;
mod place;
mod take_home;
#[cfg(unix)]
mod trouble;
mod unreadable;
