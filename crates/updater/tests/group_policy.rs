//! The templates for Group Policy say what the service reads, and are what Microsoft's schema wants (MS-GPREG 7.2, 7.3): what of it
//! can be checked without Windows is written down here.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use lockstep_updater::settings;
use protocol::policy::{DowngradePolicy, UpgradePolicy};
use roxmltree::{Document, Node};

const SCHEMA: &str = "http://schemas.microsoft.com/GroupPolicy/2006/07/PolicyDefinitions";
const KEY: &str = r"Software\Policies\Lockstep";
const LANGUAGES: [&str; 2] = ["en-US", "de-DE"];

/// Each policy, the kind of its value, and the same setting in `updater.toml`, with a value of it. The server's address stands in the
/// site profile.
const SETTINGS: [(&str, &str, Option<&str>); 8] = [
    ("ServerUrl", "text", None),
    ("UpgradePolicy", "enum", Some("[policy]\nupgrade = \"necessary-ask\"")),
    ("DowngradePolicy", "enum", Some("[policy]\ndowngrade = \"never\"")),
    ("Windows", "multiText", Some("[policy]\nmaintenance = [\"Sat 02:00-05:00\"]")),
    ("Proxy", "text", Some("[download]\nproxy = \"http://proxy:3128\"")),
    ("Sources", "multiText", Some("[download]\nsources = [\"https://cdn.example.com/targets\"]")),
    ("BytesPerSecond", "decimal", Some("[download]\nbytes_per_second = 1024")),
    ("StartJitterSeconds", "decimal", Some("[download]\nstart_jitter = \"86400 s\"")),
];

fn text(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../packaging/windows/admx").join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn below<'a>(node: Node<'a, 'a>, name: &str) -> Vec<Node<'a, 'a>> {
    node.descendants().filter(|n| n.has_tag_name((SCHEMA, name))).collect()
}

fn attribute<'a>(node: Node<'a, 'a>, name: &str) -> &'a str {
    node.attribute(name).unwrap_or_else(|| panic!("{} has no {name}: {node:?}", node.tag_name().name()))
}

/// The names of children, in their order.
fn children(node: Node<'_, '_>) -> Vec<String> {
    node.children().filter(Node::is_element).map(|n| n.tag_name().name().to_owned()).collect()
}

/// What a reference `$(table.id)` refers to.
fn reference<'a>(text: &'a str, table: &str) -> &'a str {
    let inner = text.strip_prefix("$(").and_then(|t| t.strip_suffix(')'));
    let id = inner.and_then(|t| t.strip_prefix(table)).and_then(|t| t.strip_prefix('.'));
    id.unwrap_or_else(|| panic!("{text} is no reference to a {table}"))
}

#[test]
fn every_policy_is_a_setting_that_the_service_reads() {
    let text = text("Lockstep.admx");
    let admx = Document::parse(&text).unwrap();
    let policies = below(admx.root_element(), "policy");
    let names: Vec<&str> = policies.iter().map(|p| attribute(*p, "name")).collect();
    assert_eq!(names, SETTINGS.map(|(name, ..)| name));
    for (policy, (name, kind, setting)) in policies.iter().zip(SETTINGS) {
        assert_eq!((attribute(*policy, "class"), attribute(*policy, "key")), ("Machine", KEY), "{name}");
        let elements = below(*policy, "elements");
        let element = elements[0].first_element_child().unwrap();
        assert_eq!(children(elements[0]), [kind], "{name}");
        assert_eq!(attribute(element, "valueName"), name);
        if let Some(setting) = setting {
            settings::parse(setting.as_bytes()).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
    }
}

#[test]
fn choices_and_limits_are_the_programs_own() {
    let text = text("Lockstep.admx");
    let admx = Document::parse(&text).unwrap();
    let choices = |name: &str| -> Vec<String> {
        let policy = below(admx.root_element(), "policy").into_iter().find(|p| attribute(*p, "name") == name).unwrap();
        below(policy, "string").iter().map(|s| s.text().unwrap_or_default().to_owned()).collect()
    };
    let word = |value: serde_json::Value| value.as_str().unwrap().to_owned();
    let upgrade: Vec<String> = UpgradePolicy::ALL.map(|p| word(serde_json::to_value(p).unwrap())).to_vec();
    let downgrade: Vec<String> = DowngradePolicy::ALL.map(|p| word(serde_json::to_value(p).unwrap())).to_vec();
    assert_eq!(choices("UpgradePolicy"), upgrade);
    assert_eq!(choices("DowngradePolicy"), downgrade);

    let number = |id: &str| -> [u64; 2] {
        let found = below(admx.root_element(), "decimal").into_iter().find(|d| d.attribute("id") == Some(id)).unwrap();
        ["minValue", "maxValue"].map(|name| attribute(found, name).parse().unwrap())
    };
    assert_eq!(number("BytesPerSecond")[0], settings::download::Bandwidth::LEAST);
    let [least, most] = number("StartJitterSeconds");
    let accepted =
        |seconds: u64| settings::parse(format!("[download]\nstart_jitter = \"{seconds} s\"").as_bytes()).is_ok();
    assert!(accepted(least) && accepted(most) && !accepted(most + 1));
}

#[test]
fn every_reference_leads_somewhere_in_every_language_and_nothing_is_left_over() {
    let text = text("Lockstep.admx");
    let admx = Document::parse(&text).unwrap();
    let mut strings = BTreeSet::new();
    let mut presentations = BTreeSet::new();
    for node in admx.descendants() {
        for name in ["displayName", "explainText"] {
            strings.extend(node.attribute(name).map(|r| reference(r, "string")));
        }
        presentations.extend(node.attribute("presentation").map(|r| reference(r, "presentation")));
    }
    for language in LANGUAGES {
        let text = self::text(&format!("{language}/Lockstep.adml"));
        let adml = Document::parse(&text).unwrap();
        let root = adml.root_element();
        assert!(root.has_tag_name((SCHEMA, "policyDefinitionResources")));
        assert_eq!((attribute(root, "revision"), attribute(root, "schemaVersion")), ("1.0", "1.0"));
        assert_eq!(children(root), ["displayName", "description", "resources"]);
        assert_eq!(children(below(root, "resources")[0]), ["stringTable", "presentationTable"]);
        let table = below(root, "stringTable")[0];
        let there: Vec<&str> = table.children().filter(Node::is_element).map(|s| attribute(s, "id")).collect();
        assert_eq!(there.iter().copied().collect::<BTreeSet<_>>(), strings, "{language}");
        assert_eq!(there.len(), strings.len(), "{language}: an id twice");
        let empty = |s: &Node<'_, '_>| s.is_element() && s.text().unwrap_or_default().trim().is_empty();
        assert!(!table.children().any(|s| empty(&s)), "{language}: an empty text");
        let there: BTreeSet<&str> = below(root, "presentation").iter().map(|p| attribute(*p, "id")).collect();
        assert_eq!(there, presentations, "{language}");
    }
}

#[test]
fn every_element_of_a_policy_is_shown_by_the_control_that_fits_it() {
    let text = text("Lockstep.admx");
    let admx = Document::parse(&text).unwrap();
    let mut wanted = BTreeMap::new();
    for policy in below(admx.root_element(), "policy") {
        let element = below(policy, "elements")[0].first_element_child().unwrap();
        let control = match element.tag_name().name() {
            "text" => "textBox",
            "multiText" => "multiTextBox",
            "decimal" => "decimalTextBox",
            "enum" => "dropdownList",
            other => panic!("{other}"),
        };
        let shown = reference(attribute(policy, "presentation"), "presentation");
        wanted.insert(shown, (control, attribute(element, "id")));
    }
    for language in LANGUAGES {
        let text = self::text(&format!("{language}/Lockstep.adml"));
        let adml = Document::parse(&text).unwrap();
        for presentation in below(adml.root_element(), "presentation") {
            let control = presentation.first_element_child().unwrap();
            let id = attribute(presentation, "id");
            assert_eq!(children(presentation).len(), 1, "{id}");
            assert_eq!((control.tag_name().name(), attribute(control, "refId")), wanted[id], "{language}");
        }
    }
}

#[test]
fn the_structure_is_the_schemas() {
    let text = text("Lockstep.admx");
    let admx = Document::parse(&text).unwrap();
    let root = admx.root_element();
    assert!(root.has_tag_name((SCHEMA, "policyDefinitions")));
    assert_eq!((attribute(root, "revision"), attribute(root, "schemaVersion")), ("1.0", "1.0"));
    assert_eq!(children(root), ["policyNamespaces", "resources", "supportedOn", "categories", "policies"]);
    let target = below(root, "target")[0];
    assert!(!attribute(target, "namespace").starts_with("Microsoft."), "that is Microsoft's own");
    let categories: BTreeSet<&str> = below(root, "category").iter().map(|c| attribute(*c, "name")).collect();
    for parent in below(root, "parentCategory") {
        assert!(categories.contains(attribute(parent, "ref")), "{parent:?}");
    }
    let defined: BTreeSet<&str> = below(root, "definition").iter().map(|d| attribute(*d, "name")).collect();
    for policy in below(root, "policy") {
        assert_eq!(children(policy), ["parentCategory", "supportedOn", "elements"]);
        let supported = policy.children().find(|c| c.has_tag_name((SCHEMA, "supportedOn"))).unwrap();
        assert!(defined.contains(attribute(supported, "ref")));
        let name = attribute(policy, "name");
        assert!(name.bytes().all(|b| b.is_ascii_alphanumeric()), "{name}");
        assert!(!attribute(policy, "key").starts_with("HK"), "without the hive");
    }
}
