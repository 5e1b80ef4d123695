//! Where the book's sources are on the web, for the repository's icon and the edit links.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Result;
use mdbook_driver::config::Config;

const REPOSITORY: &str = "output.html.git-repository-url";
const EDIT: &str = "output.html.edit-url-template";

/// Takes the addresses from Git's `origin`, unless the environment or book.toml has some. Where there's
/// no such remote either, mdBook shows neither an icon nor edit links.
pub(super) fn find(config: &mut Config, root: &Path) -> Result<()> {
    // In a folder of another repository, the paths of the edit links would be wrong.
    let known = config.contains_key(REPOSITORY) || config.contains_key(EDIT);
    if known || !root.join(".git").exists() {
        return Ok(());
    }
    let origin = git(root, &["remote", "get-url", "origin"]);
    let Some(address) = origin.as_deref().and_then(web_address) else {
        return Ok(());
    };
    // The branch that a visitor of the repository sees, or else the one that's checked out.
    let branch = git(
        root,
        &["symbolic-ref", "--short", "refs/remotes/origin/HEAD"],
    )
    .and_then(|branch| Some(branch.strip_prefix("origin/")?.to_string()))
    .or_else(|| git(root, &["branch", "--show-current"]));
    if let Some(branch) = branch {
        config.set(EDIT, format!("{address}/edit/{branch}/{{path}}"))?;
    }
    config.set(REPOSITORY, address)
}

/// What Git answers. Nothing, if it isn't installed or doesn't know.
fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    let output = command
        .args(arguments)
        .current_dir(root)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let answer = String::from_utf8(output.stdout).ok()?.trim().to_string();
    (output.status.success() && !answer.is_empty()).then_some(answer)
}

/// The page of a remote at a host like GitHub or GitLab, if it's at such a host.
fn web_address(remote: &str) -> Option<String> {
    let (scheme, rest) = remote.split_once("://").unwrap_or(("scp", remote));
    let (host, path) = rest.split_once(if scheme == "scp" { ':' } else { '/' })?;
    // A user's name or token is nobody else's business.
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let (scheme, host) = match scheme {
        "http" | "https" => (scheme, host),
        // The port is that of SSH.
        "ssh" | "scp" => ("https", host.split(':').next()?),
        _ => return None,
    };
    let path = path.trim_matches('/').trim_end_matches(".git");
    let is_host = host.contains('.') && !host.contains('/');
    (is_host && !path.is_empty()).then(|| format!("{scheme}://{host}/{path}"))
}

#[cfg(test)]
mod tests {
    use super::web_address;

    #[test]
    fn a_remote_at_a_host_has_a_page() {
        let page = Some("https://example.org/owner/name");
        for (remote, page) in [
            ("https://example.org/owner/name", page),
            ("https://owner:token@example.org/owner/name.git/", page),
            ("git@example.org:owner/name.git", page),
            ("ssh://git@example.org:2222/owner/name.git", page),
            (
                "http://example.org:8080/name",
                Some("http://example.org:8080/name"),
            ),
            ("https://example.org/", None),
            ("/srv/book.git", None),
            ("../book", None),
            ("C:\\book", None),
            ("file:///srv/book", None),
        ] {
            assert_eq!(web_address(remote).as_deref(), page, "{remote}");
        }
    }
}
