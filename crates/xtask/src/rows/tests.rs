//! The ids in this file that have no row are put together at run time: the file is read like all others.

use super::*;

fn files(text: &str) -> BTreeMap<PathBuf, Cited> {
    BTreeMap::from([(PathBuf::from("a.rs"), cited(text))])
}

#[test]
fn ids_are_found_in_prose_and_in_names() {
    let found = cited("fn s_62_is_last() {} // see VS-12, DR-07.");
    assert_eq!(found.ids.into_iter().collect::<Vec<_>>(), [Id("DR", 7), Id("S", 62), Id("VS", 12)]);
}

#[test]
fn words_that_only_resemble_ids_are_not_cited() {
    for text in ["P-256", "SHA-256", "XS-62", "S-6", "S-62-x", "s_62", "s_6_x", "as_62_x", "RFC-62", "§2.7"] {
        assert_eq!(cited(text).ids, BTreeSet::new(), "{text}");
    }
}

#[test]
fn ranges_are_found() {
    let found = cited("rows S-30 to S-34, and VS-12 to\n/// VS-14");
    assert_eq!(found.ranges, BTreeSet::from([(Id("S", 30), Id("S", 34)), (Id("VS", 12), Id("VS", 14))]));
    assert_eq!(found.ids.len(), 4);
}

#[test]
fn each_cited_id_has_a_row() {
    let (known, unknown) = ("S-62", format!("S-{}", 999));
    let page = "| id | meaning |\n|---|---|\n| S-62 | Routes without conditions are last. |\n";
    assert_eq!(faults(&files(known), page), Vec::<String>::new());
    assert_eq!(
        faults(&files(&format!("{known} {unknown}")), page),
        [format!("a.rs cites {unknown}, which has no row")]
    );
}

#[test]
fn each_row_is_cited() {
    let page = "| S-62 | Routes without conditions are last. |\n| VS-13 | Case. |\n";
    assert_eq!(faults(&files("S-62"), page), ["VS-13 is not cited anywhere: remove its row"]);
    assert_eq!(faults(&files("S-62, VS-12 to VS-14"), page).len(), 2, "the ends of a range need rows, VS-13 is in it");
}

#[test]
fn rows_are_unique_and_say_something() {
    let page = "| S-62 | One. |\n| S-62 | Two. |\n| VS-12 | |\n";
    assert_eq!(faults(&files("S-62 VS-12"), page), ["S-62 has two rows", "VS-12 has no meaning"]);
}

/// The page of this repository.
#[test]
fn the_page_explains_what_is_cited() {
    check().unwrap();
}
