//! The templates for Group Policy say what the service reads, and are what Microsoft's schema wants (MS-GPREG 7.2, 7.3): what of it
//! can be checked without Windows is written down here.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use lockstep_updater::settings::{
    self,
    group_policy::{self, Kind, POLICIES, Policy},
};
use protocol::policy::{DowngradePolicy, UpgradePolicy};
use roxmltree::{Document, Node};

const SCHEMA: &str = "http://schemas.microsoft.com/GroupPolicy/2006/07/PolicyDefinitions";
const LANGUAGES: [&str; 2] = ["en-US", "de-DE"];

/// How a value of the registry is edited: the element's name, by the policy's.
fn element(policy: &Policy) -> &'static str {
    match policy.kind {
        _ if ["UpgradePolicy", "DowngradePolicy", "WindowsFor"].contains(&policy.name) => "enum",
        Kind::Text => "text",
        Kind::Texts => "multiText",
        Kind::Number | Kind::Seconds | Kind::Megabytes => "decimal",
    }
}

/// What `updater.toml` can have in a place, as the program itself says when it meets a key that there is not.
fn accepted(before: &str) -> BTreeSet<String> {
    let said = settings::parse(format!("{before}no_such_key = 1\n").as_bytes()).unwrap_err();
    let (_, list) = said.split_once("expected ").unwrap_or_else(|| panic!("{said}"));
    list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

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
fn every_setting_of_the_machine_has_a_policy() {
    let sections: BTreeSet<&str> = POLICIES.iter().map(|policy| policy.section).collect();
    assert_eq!(accepted(""), sections.iter().map(|s| (*s).to_owned()).collect());
    for section in sections {
        let keys = POLICIES.iter().filter(|policy| policy.section == section).map(|policy| policy.key.to_owned());
        assert_eq!(accepted(&format!("[{section}]\n")), keys.collect(), "[{section}]");
    }
}

#[test]
fn every_policy_is_a_setting_that_the_service_reads() {
    let text = text("Lockstep.admx");
    let admx = Document::parse(&text).unwrap();
    let policies = below(admx.root_element(), "policy");
    let shown = policies.iter().map(|policy| {
        assert_eq!((attribute(*policy, "class"), attribute(*policy, "key")), ("Machine", group_policy::KEY));
        let name = attribute(*policy, "name");
        let elements = below(*policy, "elements");
        assert_eq!(attribute(elements[0].first_element_child().unwrap(), "valueName"), name);
        (name, children(elements[0]))
    });
    let read = POLICIES.iter().map(|policy| (policy.name, vec![element(policy).to_owned()]));
    let server = (group_policy::SERVER_URL, vec!["text".to_owned()]);
    assert_eq!(shown.collect::<BTreeMap<_, _>>(), read.chain([server]).collect());
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
    assert_eq!(choices("WindowsFor"), ["recommended", "all"]);
    for what in choices("WindowsFor") {
        settings::parse(format!("[policy]\nmaintenance_for = \"{what}\"").as_bytes()).unwrap();
    }

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
