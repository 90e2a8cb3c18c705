//! The shape of the source: the core imports nothing but the core, modules import one another in no circle, and what is
//! known of a kind of server stands in that kind's folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Each module by its path (`targets::nginx`), with its own source: no tests, no comments.
fn modules() -> BTreeMap<String, String> {
    fn gather(folder: &Path, path: &str, modules: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}::{name}") };
            if entry.path().is_dir() {
                gather(&entry.path(), &below(&name), modules);
            } else if let Some(stem) = name.strip_suffix(".rs") {
                let module = if stem == "mod" { path.to_owned() } else { below(stem) };
                let text = fs::read_to_string(entry.path()).unwrap();
                let own = text.split("#[cfg(test)]\nmod tests").next().unwrap();
                let code = own.lines().filter(|line| !line.trim_start().starts_with("//"));
                modules.insert(module, code.collect::<Vec<_>>().join("\n"));
            }
        }
    }
    let mut modules = BTreeMap::new();
    gather(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut modules);
    modules
}

/// The paths that a source names, from the crate's root: `crate::a::{b, c::d}` is `a::b` and `a::c::d`.
fn named(module: &str, code: &str, children: &BTreeSet<&str>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let begins = |at: usize| !code[..at].ends_with(|before: char| before.is_alphanumeric() || "_:".contains(before));
    let parent = module.rsplit_once("::").map_or("", |(parent, _)| parent);
    for (prefix, root) in [("crate::", ""), ("super::", parent)] {
        let root = if root.is_empty() { String::new() } else { format!("{root}::") };
        for (at, _) in code.match_indices(prefix).filter(|(at, _)| begins(*at)) {
            expand(&root, &code[at + prefix.len()..], &mut found);
        }
    }
    for child in children {
        if code.match_indices(&format!("{child}::")).any(|(at, _)| begins(at)) {
            found.insert(format!("{module}::{child}"));
        }
    }
    found
}

/// Reads one path of a `use`, or of an expression, and takes groups apart.
fn expand(root: &str, text: &str, found: &mut BTreeSet<String>) {
    let end = text.find(|each: char| !(each.is_alphanumeric() || each == '_' || each == ':')).unwrap_or(text.len());
    let path = format!("{root}{}", &text[..end]);
    if !text[end..].starts_with('{') {
        found.insert(path.trim_end_matches(':').to_owned());
        return;
    }
    let (mut depth, mut start) = (0, end + 1);
    for (at, each) in text[end..].char_indices().map(|(at, each)| (end + at, each)) {
        match each {
            '{' => depth += 1,
            ',' | '}' if depth == 1 => {
                let item = text[start..at].trim();
                if !item.is_empty() {
                    expand(&path, item, found);
                }
                start = at + 1;
                if each == '}' {
                    return;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
}

/// The modules that each module imports.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let modules = modules();
    let children = |module: &str| -> BTreeSet<&str> {
        let nested = modules.keys().filter_map(|other| other.rsplit_once("::"));
        nested.filter(|(parent, _)| *parent == module).map(|(_, child)| child).collect()
    };
    let of = |(module, code): (&String, &String)| {
        let of_path = |mut path: &str| loop {
            if modules.contains_key(path) {
                return Some(path.to_owned());
            }
            path = path.rsplit_once("::")?.0;
        };
        let paths = named(module, code, &children(module));
        let imported = paths.iter().filter_map(|path| of_path(path)).filter(|imported| imported != module);
        (module.clone(), imported.collect())
    };
    modules.iter().map(of).collect()
}

#[test]
fn the_core_imports_nothing_but_the_core() {
    for (module, imported) in imports().iter().filter(|(module, _)| module.starts_with("trust")) {
        let others: Vec<_> = imported.iter().filter(|other| !other.starts_with("trust")).collect();
        assert!(others.is_empty(), "{module} imports {others:?}");
    }
}

/// The ways from a module back to itself, one a module that has any.
fn circles(imports: &BTreeMap<String, BTreeSet<String>>) -> Vec<Vec<&String>> {
    let circle_of = |start| {
        let (mut reached, mut open) = (BTreeSet::new(), vec![vec![start]]);
        while let Some(way) = open.pop() {
            for imported in &imports[*way.last().unwrap()] {
                if imported == start {
                    return Some(way);
                }
                if reached.insert(imported) {
                    open.push([&way[..], &[imported]].concat());
                }
            }
        }
        None
    };
    imports.keys().filter_map(circle_of).collect()
}

#[test]
fn no_module_imports_another_in_a_circle() {
    let mut imports = imports();
    imports.retain(|module, _| !module.is_empty());
    let modules: BTreeSet<String> = imports.keys().cloned().collect();
    for (module, imported) in &mut imports {
        // A parent and its child may be one thing in two files; in these folders not even they form a circle.
        let is_strict = ["targets", "settings", "store", "trust::render"].iter().any(|top| module.starts_with(top));
        let is_family = |one: &str, other: &str| one.starts_with(&format!("{other}::"));
        imported.retain(|other| {
            modules.contains(other) && (is_strict || !is_family(module, other) && !is_family(other, module))
        });
    }
    assert!(circles(&imports).is_empty(), "{:#?}", circles(&imports));
}

#[test]
fn no_room_of_the_core_imports_another_in_a_circle() {
    let room = |module: &str| Some(module.strip_prefix("trust::")?.split("::").next()?.to_owned());
    let mut rooms: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (module, imported) in imports() {
        let Some(own) = room(&module) else { continue };
        let others = imported.iter().filter_map(|other| room(other)).filter(|other| *other != own);
        rooms.entry(own.clone()).or_default().extend(others);
    }
    assert!(circles(&rooms).is_empty(), "{:#?}", circles(&rooms));
}

#[test]
fn what_is_known_of_a_kind_stands_in_its_folder() {
    const KINDS: [&str; 7] = ["nginx", "haproxy", "apache", "envoy", "java", "ca_only", "generic"];
    let kind_of = |module: &str| {
        let kind = module.strip_prefix("targets::")?.split("::").next()?;
        KINDS.into_iter().find(|known| *known == kind)
    };
    let mut naming = BTreeSet::new();
    for (module, imported) in imports() {
        let others = imported.iter().filter_map(|other| kind_of(other)).any(|kind| kind_of(&module) != Some(kind));
        if others {
            naming.insert(module);
        }
    }
    assert_eq!(naming, BTreeSet::from(["targets::table".to_owned()]), "they name a kind of server");
}
