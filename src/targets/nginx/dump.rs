//! What `nginx -T` prints, put together again. Pure.
//!
//! It prints the main file and then each included one, once, under a heading, includes not in place. Here each
//! `include` is followed by what it stands for, also within the bodies of `map` and `geo`. The directive itself stays,
//! with the whole path, so that it can be seen which file was asked for even if that is empty.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::targets::nginx::configuration::{Directive, Unreadable, read};

/// What stands before each file's path.
pub(super) const HEADING: &str = "# configuration file ";

/// How deep includes may nest, and how many directives there may be in all.
const DEPTH: usize = 32;
const DIRECTIVES: usize = 2_000_000;

/// A configuration with every include in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// The top level of the main file.
    pub directives: Vec<Directive>,
    /// Relative paths of files begin here: the main file's folder.
    pub prefix: PathBuf,
}

/// Why the dump cannot be put together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DumpError {
    /// It has no heading.
    #[error("it names no configuration file")]
    Empty,
    /// A file is not as nginx would read one.
    #[error("{}: {reason}", .path.display())]
    File {
        /// As its heading names it.
        path: PathBuf,
        /// What in it is unexpected.
        reason: Unreadable,
    },
    /// An include names a file that was not printed.
    #[error("the included file {} is missing from it", .0.display())]
    Missing(PathBuf),
    /// Includes of includes without end, or far too many directives.
    #[error("its includes are nested too deeply, or it is too big")]
    TooBig,
}

/// Puts a dump together.
pub fn assemble(dump: &str) -> Result<Configuration, DumpError> {
    let sections = sections(dump);
    let Some((main, _)) = sections.first() else {
        return Err(DumpError::Empty);
    };
    let prefix = main.parent().unwrap_or(Path::new("/")).to_owned();
    let mut files = BTreeMap::new();
    for (path, text) in &sections {
        let directives =
            read(text, &Arc::from(path.as_path())).map_err(|reason| DumpError::File { path: path.clone(), reason })?;
        files.entry(tidy(path)).or_insert(directives);
    }
    let main = files.get(&tidy(main)).cloned().unwrap_or_default();
    let mut budget = DIRECTIVES;
    let directives = in_place(main, &Files { prefix: &prefix, files: &files }, 0, &mut budget)?;
    Ok(Configuration { directives, prefix })
}

fn sections(dump: &str) -> Vec<(PathBuf, String)> {
    let mut sections: Vec<(PathBuf, String)> = Vec::new();
    for line in dump.lines() {
        if let Some(path) = line.strip_prefix(HEADING).and_then(|rest| rest.strip_suffix(':'))
            && path.starts_with('/')
        {
            sections.push((path.into(), String::new()));
        } else if let Some((_, text)) = sections.last_mut() {
            text.push_str(line);
            text.push('\n');
        }
    }
    sections
}

struct Files<'a> {
    prefix: &'a Path,
    files: &'a BTreeMap<PathBuf, Vec<Directive>>,
}

fn in_place(
    directives: Vec<Directive>,
    files: &Files<'_>,
    depth: usize,
    budget: &mut usize,
) -> Result<Vec<Directive>, DumpError> {
    if depth > DEPTH {
        return Err(DumpError::TooBig);
    }
    let mut whole = Vec::new();
    for mut directive in directives {
        *budget = budget.checked_sub(1).ok_or(DumpError::TooBig)?;
        match directive.arguments.as_slice() {
            [pattern] if directive.name == "include" && directive.block.is_none() => {
                let asked_for = tidy(&files.prefix.join(pattern));
                let contents = files.matching(&asked_for)?;
                directive.arguments = vec![asked_for.to_string_lossy().into_owned()];
                whole.push(directive);
                for included in contents {
                    whole.extend(in_place(included.clone(), files, depth.saturating_add(1), budget)?);
                }
            }
            _ => {
                if let Some(block) = directive.block.take() {
                    directive.block = Some(in_place(block, files, depth, budget)?);
                }
                whole.push(directive);
            }
        }
    }
    Ok(whole)
}

impl Files<'_> {
    /// As glob(3) would find them, in its order; a plain name that matches nothing is an error, a pattern is not.
    fn matching(&self, pattern: &Path) -> Result<Vec<&Vec<Directive>>, DumpError> {
        if pattern.to_string_lossy().contains(['*', '?', '[']) {
            Ok(self.files.iter().filter(|(file, _)| path_matches(pattern, file)).map(|(_, content)| content).collect())
        } else {
            self.files.get(pattern).map(|content| vec![content]).ok_or_else(|| DumpError::Missing(pattern.to_owned()))
        }
    }
}

/// Without `.` and doubled slashes; `..` stays, since what it means depends on links.
pub(super) fn tidy(path: &Path) -> PathBuf {
    path.components().filter(|component| *component != Component::CurDir).collect()
}

fn path_matches(pattern: &Path, path: &Path) -> bool {
    let characters = |part: Component<'_>| part.as_os_str().to_string_lossy().chars().collect::<Vec<char>>();
    pattern.components().count() == path.components().count()
        && pattern.components().zip(path.components()).all(|(pattern, name)| {
            let (pattern, name) = (characters(pattern), characters(name));
            let is_hidden = name.first() == Some(&'.') && pattern.first() != Some(&'.');
            !is_hidden && name_matches(&pattern, &name)
        })
}

/// glob(7) within one name: `*`, `?`, `[abc]`, `[a-z]`, `[!abc]`, `\x`.
fn name_matches(pattern: &[char], name: &[char]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        (['*', rest @ ..], _) => {
            name_matches(rest, name) || name.split_first().is_some_and(|(_, shorter)| name_matches(pattern, shorter))
        }
        (['?', rest @ ..], [_, shorter @ ..]) => name_matches(rest, shorter),
        (['[', rest @ ..], [first, shorter @ ..]) => {
            let (negated, set) = match rest {
                ['!' | '^', set @ ..] => (true, set),
                set => (false, set),
            };
            // A `]` that comes first is a member.
            let Some(end) = set.iter().skip(1).position(|c| *c == ']').map(|at| at.saturating_add(1)) else {
                return *first == '[' && name_matches(rest, shorter);
            };
            let (members, after) = set.split_at(end);
            is_member(members, *first) != negated && name_matches(after.get(1..).unwrap_or_default(), shorter)
        }
        (['\\', wanted, rest @ ..], [first, shorter @ ..]) | ([wanted, rest @ ..], [first, shorter @ ..]) => {
            wanted == first && name_matches(rest, shorter)
        }
        _ => false,
    }
}

fn is_member(members: &[char], wanted: char) -> bool {
    match members {
        [low, '-', high, rest @ ..] => (*low..=*high).contains(&wanted) || is_member(rest, wanted),
        [one, rest @ ..] => *one == wanted || is_member(rest, wanted),
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump(files: &[(&str, &str)]) -> String {
        files.iter().map(|(path, text)| format!("# configuration file {path}:\n{text}\n\n")).collect()
    }

    fn read_plain(text: &str) -> Vec<Directive> {
        read(text, &Path::new("").into()).unwrap()
    }

    fn without_origin(directives: Vec<Directive>) -> Vec<Directive> {
        let plain = directives.into_iter().filter(|directive| directive.name != "include");
        plain
            .map(|directive| Directive {
                block: directive.block.map(without_origin),
                file: Path::new("").into(),
                ..directive
            })
            .collect()
    }

    fn whole(files: &[(&str, &str)]) -> Result<Configuration, DumpError> {
        assemble(&dump(files))
    }

    #[test]
    fn includes_stand_where_they_were_asked_for_each_time() {
        let text = dump(&[
            (
                "/etc/nginx/nginx.conf",
                "user x; http { map $a $b { default ''; include maps/b.map; } include sites/*; }",
            ),
            ("/etc/nginx/maps/b.map", "one 1; # two 2;\n"),
            ("/etc/nginx/sites/a.conf", "server { include common; listen 1; }"),
            ("/etc/nginx/common", "root /srv;"),
            ("/etc/nginx/sites/b.conf", "server { include /etc/nginx/./common; listen 2; }"),
            ("/etc/nginx/sites/.hidden", "server { listen 3; }"),
        ]);
        let put_together = assemble(&format!("nginx: the configuration file is ok\n{text}")).unwrap();
        let plain = read_plain(
            "user x; http { map $a $b { default ''; one 1; } server { root /srv; listen 1; } server { root /srv; \
             listen 2; } }",
        );
        assert_eq!(without_origin(put_together.directives), plain);
        assert_eq!(put_together.prefix, Path::new("/etc/nginx"));
    }

    #[test]
    fn a_dump_that_does_not_add_up_is_an_error() {
        assert_eq!(assemble("nginx: [emerg] broken"), Err(DumpError::Empty));
        assert_eq!(whole(&[("/n/a", "include b;")]), Err(DumpError::Missing("/n/b".into())));
        assert_eq!(whole(&[("/n/a", "include a;")]), Err(DumpError::TooBig));
        assert!(matches!(whole(&[("/n/a", "http {")]), Err(DumpError::File { .. })));
        assert_eq!(without_origin(whole(&[("/n/a", "include b/*.conf;")]).unwrap().directives), []);
    }

    #[test]
    fn globs_match_as_the_system_matches_them() {
        let matches = |pattern: &str, path: &str| path_matches(Path::new(pattern), Path::new(path));
        for (pattern, path) in [
            ("/a/*.conf", "/a/x.conf"),
            ("/a/*/b", "/a/x/b"),
            ("/a/?[bc-e][!x]*", "/a/ybd"),
            ("/a/[]]", "/a/]"),
            ("/a/.*", "/a/.x"),
        ] {
            assert!(matches(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("/a/*.conf", "/a/b/x.conf"),
            ("/a/*.conf", "/a/x.conf~"),
            ("/a/*", "/a/.x"),
            ("/a/[!x]", "/a/x"),
            ("/a/*", "/a"),
        ] {
            assert!(!matches(pattern, path), "{pattern} {path}");
        }
    }
}
