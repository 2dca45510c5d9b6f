//! The user that the process runs as: root is reported, and can be given up for another user once the listeners are bound.

use anyhow::{Context, Result, bail};
use nix::unistd::{Gid, Group, Uid, User, initgroups, setgid, setgroups, setuid};
use std::ffi::CString;

/// The user and group that `--user` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunAs {
    text: String,
    user: Uid,
    group: Gid,
    /// The name by which further groups are looked up; none for a user given by number alone.
    name: Option<String>,
}

impl RunAs {
    /// `USER`, `USER:GROUP`, by name or number. A number without a group has the group of the same number where there is no such user.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let number = user.parse::<u32>().ok();
        let found = match number {
            Some(number) => User::from_uid(Uid::from_raw(number)),
            None => User::from_name(user),
        };
        let found = found.with_context(|| format!("--user {text}: users cannot be looked up"))?;
        let (uid, own_group, name) = match (found, number) {
            (Some(found), _) => (found.uid, found.gid, Some(found.name)),
            (None, Some(number)) => (Uid::from_raw(number), Gid::from_raw(number), None),
            (None, None) => bail!("--user {text}: user `{user}` not found"),
        };
        let group = group.map(|group| find_group(text, group)).transpose()?.unwrap_or(own_group);
        if uid.is_root() {
            bail!("--user {text}: this is root; name another user");
        }
        Ok(Self { text: text.to_owned(), user: uid, group, name })
    }

    /// The number of the user.
    pub(crate) fn uid(&self) -> u32 {
        self.user.as_raw()
    }

    /// Makes the whole process, all its threads, run as this user for good. Does nothing where it does so already.
    pub(crate) fn apply(&self) -> Result<()> {
        let now = (Uid::effective(), Gid::effective());
        if now == (self.user, self.group) {
            return Ok(());
        }
        let change = || {
            // Groups first: a user without privileges may not change them.
            match self.name.as_deref().map(CString::new) {
                Some(Ok(name)) => initgroups(&name, self.group)?,
                _ => setgroups(&[self.group])?,
            }
            setgid(self.group)?;
            setuid(self.user)
        };
        change().with_context(|| {
            format!("cannot run as {}: start the process as root, or as that user and without --user", self.text)
        })?;
        if Uid::effective() != self.user || setuid(Uid::from_raw(0)).is_ok() {
            bail!("cannot run as {}: the privileges of root are still there", self.text);
        }
        tracing::info!(user = self.user.as_raw(), group = self.group.as_raw(), "privileges dropped");
        Ok(())
    }
}

fn find_group(text: &str, group: &str) -> Result<Gid> {
    if let Ok(number) = group.parse() {
        return Ok(Gid::from_raw(number));
    }
    let found = Group::from_name(group).with_context(|| format!("--user {text}: groups cannot be looked up"))?;
    Ok(found.with_context(|| format!("--user {text}: group `{group}` not found"))?.gid)
}

/// Reports that the process runs as root, where nothing changes that later.
pub(crate) fn warn_of_root(run_as: Option<&RunAs>) {
    if run_as.is_none() && Uid::effective().is_root() {
        tracing::warn!("running as root; `--user USER` drops the privileges once the listeners are bound");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_are_named_or_numbered() {
        let run_as = |text| RunAs::parse(text).map(|run_as| (run_as.user.as_raw(), run_as.group.as_raw()));
        assert_eq!(run_as("4242:4243").unwrap(), (4242, 4243));
        assert_eq!(run_as("4242").unwrap(), (4242, 4242));
        for (text, says) in [
            ("no-such-user", "user `no-such-user` not found"),
            ("4242:no-such-group", "group `no-such-group` not found"),
            ("root", "this is root"),
            ("0:4242", "this is root"),
            ("", "user `` not found"),
        ] {
            let error = run_as(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
