//! `USER[:GROUP]`, by name or by number.

use crate::vfs::Owner;

/// Takes `USER`, `USER:` (the user's own group), `USER:GROUP` or `:GROUP` (root's files) apart.
pub(super) fn parse(text: &str) -> Result<Owner, String> {
    let (user, group) = text
        .split_once(':')
        .map_or((text, None), |(u, g)| (u, Some(g)));
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    find(user, group, &passwd, &groups)
}

fn find(user: &str, group: Option<&str>, passwd: &str, groups: &str) -> Result<Owner, String> {
    let row = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.first() == Some(&user) || fields.get(2) == Some(&user));
    let field = |at: usize| {
        row.as_ref()
            .and_then(|fields| fields.get(at))
            .and_then(|id| id.parse::<u32>().ok())
    };
    let uid = user
        .parse()
        .ok()
        .or_else(|| field(2))
        .ok_or_else(|| format!("there is no user '{user}' on this machine"))?;
    let gid = match group {
        None | Some("") => field(3).unwrap_or(uid),
        Some(group) => group
            .parse()
            .ok()
            .or_else(|| {
                let mut lines = groups.lines().map(|line| line.split(':'));
                lines.find_map(|mut fields| {
                    (fields.next() == Some(group)).then(|| fields.nth(1)?.parse().ok())?
                })
            })
            .ok_or_else(|| format!("there is no group '{group}' on this machine"))?,
    };
    Ok(Owner { uid, gid })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        let passwd = "root:x:0:0::/:/bin/sh\nana:x:1001:100::/:/bin/sh\n";
        let groups = "root:x:0:\nweb:x:33:ana\n";
        let found = |user, group| {
            find(user, group, passwd, groups)
                .map(|o| (o.uid, o.gid))
                .ok()
        };
        assert_eq!(found("ana", None), Some((1001, 100)));
        assert_eq!(found("1001", Some("web")), Some((1001, 33)));
        assert_eq!(found("ana", Some("7")), Some((1001, 7)));
        assert_eq!(found("4711", None), Some((4711, 4711)));
        assert_eq!(found("bob", None), None);
        assert_eq!(found("ana", Some("none")), None);
    }
}
