//! The trees `tests/manifests/valid` and `tests/manifests/invalid`: one file a case, named `<subject>_<fault>`.

use insta::assert_snapshot;

use crate::support::{Place, each, manifests, snapshots};

#[test]
fn every_valid_manifest_is_accepted_without_a_word_on_standard_output() {
    each(manifests("tests/manifests/valid"), |_, path| {
        let output = Place::new().bottle(["validate", "-f"]).arg(path).run();
        assert_eq!((output.code, output.stdout.as_str()), (0, ""), "{output}");
        assert!(output.stderr.starts_with("valid: "), "{output}");
    });
}

#[test]
fn every_invalid_manifest_is_refused_with_a_place_and_a_reason() {
    each(manifests("tests/manifests/invalid"), |name, path| {
        let place = Place::new();
        let output = place.bottle(["validate", "-f"]).arg(path).run();
        assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{output}");
        let hidden = |character: char| {
            (character.is_control() && character != '\n')
                || matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        };
        assert!(!output.stderr.contains(hidden), "it steers the terminal: {output:?}");
        assert!(place.tree().is_empty(), "it left {:?}", place.tree());
        snapshots("manifests").bind(|| assert_snapshot!(name, output.stderr));
    });
}

#[test]
fn an_invalid_manifest_is_never_rendered_either() {
    each(manifests("tests/manifests/invalid"), |_, path| {
        let place = Place::new();
        let output = place.bottle(["render", "--all", "-o", ".", "-f"]).arg(&path).run();
        assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{output}");
        assert_eq!(output.stderr, place.bottle(["validate", "-f"]).arg(path).run().stderr);
        assert!(place.tree().is_empty(), "it left {:?}", place.tree());
    });
}

#[test]
fn every_snapshot_belongs_to_an_invalid_manifest() {
    let names: Vec<String> = manifests("tests/manifests/invalid").into_iter().map(|(name, _)| name).collect();
    for path in crate::support::entries(&crate::support::project("snapshots/manifests")) {
        let file = path.file_name().and_then(|name| name.to_str()).expect("a file name is text");
        let name = file.strip_suffix(".snap").expect("a snapshot");
        assert!(names.iter().any(|known| known == name), "there is no tests/manifests/invalid/{name}.yaml");
    }
}
