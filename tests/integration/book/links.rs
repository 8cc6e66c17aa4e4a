//! Every link of the book leads to a page, a heading or a file that is there, and every page is in the summary.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use super::{Page, page, pages};
use crate::support::project;

/// What a heading is called in a link, as mdBook makes it.
fn slug(heading: &str) -> String {
    let kept = heading.trim().chars().filter_map(|c| match c {
        _ if c.is_alphanumeric() || matches!(c, '_' | '-') => Some(c.to_ascii_lowercase()),
        _ if c.is_whitespace() => Some('-'),
        _ => None,
    });
    kept.collect()
}

/// The anchors of a page.
fn anchors(page: &Page) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let headings = page.prose().into_iter().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let slug = slug(line.trim_start_matches('#'));
            let count = seen.entry(slug.clone()).or_insert(0);
            *count += 1;
            if *count == 1 { slug } else { format!("{slug}-{}", *count - 1) }
        })
        .collect()
}

/// The targets of the links and pictures of a text, each with its line.
fn targets(lines: &[&str]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        for (start, _) in line.match_indices("](") {
            // What stands between backticks is no link.
            if line.get(..start).is_some_and(|before| before.matches('`').count() % 2 == 1) {
                continue;
            }
            let rest = line.get(start + 2..).expect("a match ends at a character");
            let (target, _) = rest.split_once(')').expect("a link ends in its line");
            found.push((at + 1, target.to_owned()));
        }
    }
    found
}

/// A path without `..`, as far as that can be said without the file system.
fn normal(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut path, part| {
        if part == Component::ParentDir {
            path.pop();
        } else {
            path.push(part);
        }
        path
    })
}

/// What is wrong with the links of a file.
fn broken(path: &Path, lines: &[&str], anchors: &BTreeMap<PathBuf, BTreeSet<String>>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (line, target) in targets(lines) {
        if target.starts_with("https://") || target.starts_with("http://") {
            continue;
        }
        let (file, anchor) = target.split_once('#').map_or((target.as_str(), None), |(f, a)| (f, Some(a)));
        let to = match file {
            "" => path.to_owned(),
            _ => normal(&path.parent().expect("a file has a directory").join(file)),
        };
        let there = match anchor {
            None => to.exists(),
            Some(anchor) => anchors.get(&to).is_some_and(|all| all.contains(anchor)),
        };
        if !there {
            wrong.push(format!("{}:{line}: {target}", path.display()));
        }
    }
    wrong
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let anchors = pages.iter().map(|page| (page.path.clone(), anchors(page))).collect();
    let mut wrong: Vec<String> =
        pages.iter().flat_map(|page| broken(&page.path, &page.prose(), &anchors)).collect();
    for name in ["README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/benchmarks.md"] {
        let path = project(name);
        let text = bottle::fs::read_to_string(&path).expect("the file is there");
        wrong.extend(broken(&path, &text.lines().collect::<Vec<_>>(), &anchors));
    }
    assert!(wrong.is_empty(), "links that lead nowhere:\n{}", wrong.join("\n"));
}

#[test]
fn every_page_is_in_the_summary_once() {
    let summary = page("SUMMARY.md");
    let mut listed: Vec<String> = targets(&summary.prose()).into_iter().map(|(_, target)| target).collect();
    listed.sort();
    let mut there: Vec<String> = pages().into_iter().map(|page| page.name).collect();
    there.retain(|name| name != "SUMMARY.md");
    there.sort();
    assert_eq!(listed, there);
}

#[test]
fn every_picture_is_shown_by_a_page() {
    let mut shown = String::new();
    for page in pages() {
        shown.push_str(&page.text);
    }
    for path in crate::support::entries(&project("docs/src/img")) {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name is text");
        assert!(shown.contains(&format!("img/{name}")), "{name} is shown nowhere");
    }
}

#[test]
fn what_is_included_is_there() {
    for page in pages() {
        for (_, rest) in
            page.text.match_indices("{{#include ").map(|(at, found)| page.text.split_at(at + found.len()))
        {
            let (file, _) = rest.split_once("}}").expect("an include ends");
            let path = normal(&page.path.parent().expect("a file has a directory").join(file));
            assert!(path.is_file(), "{}: {file}", page.name);
        }
    }
}

#[test]
fn a_heading_is_called_as_mdbook_calls_it() {
    assert_eq!(slug(" With `sidecars: bundled`"), "with-sidecars-bundled");
    assert_eq!(slug(" What is set, and what you can change"), "what-is-set-and-what-you-can-change");
    assert_eq!(slug(" `extends`: A_b"), "extends-a_b");
}
