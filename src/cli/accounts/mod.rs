//! The accounts that are logged in on this machine.
//!
//! In: a session that a PDS gave (`login`). Out: a token that is good for the next minutes, to the commands that act in an
//! account's name. Never: keep a password, or give a token to anything but the account's PDS and the server that gave it.

mod kept;
mod login;
mod logout;
mod oauth;
mod refresh;
mod show;

pub(super) use self::kept::{Accounts, Kept};
pub(super) use self::login::{LoginCommand, login};
pub(super) use self::logout::{LogoutArgs, logout};
pub(super) use self::oauth::{Bound, credential};
pub(super) use self::refresh::fresh;
pub(super) use self::show::{AccountsArgs, accounts};
