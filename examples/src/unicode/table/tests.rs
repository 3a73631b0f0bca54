//! The table over real SQLite: in memory, and in a file that is opened twice.

use super::*;

#[tokio::test]
async fn the_table_holds_the_names_of_all_characters_that_have_their_own() {
    let table = Table::open(":memory:").await.unwrap();
    let len = table.count().await.unwrap();
    assert!(len > 30_000, "only {len} rows");
    let crab = table.get("U+1F980").await.unwrap().unwrap();
    assert_eq!(crab, Record { key: "U+1F980".into(), name: "CRAB".into(), version: 1 });
    assert_eq!(table.get("U+0041").await.unwrap().unwrap().name, "LATIN CAPITAL LETTER A");
    for nameless in ["U+0378", "U+4E00", "U+AC00", "crab", "'; DROP TABLE names; --"] {
        assert_eq!(table.get(nameless).await.unwrap(), None, "{nameless}");
    }
}

#[tokio::test]
async fn one_query_answers_many_keys() {
    let table = Table::open(":memory:").await.unwrap();
    let mut rows = table.get_many(&["U+0041", "U+0378", "U+1F980"]).await.unwrap();
    rows.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(rows.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), ["U+0041", "U+1F980"]);
    assert_eq!(table.get_many(&[]).await.unwrap(), []);
}

#[tokio::test]
async fn a_change_raises_the_version_and_outlives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("names.db");
    let table = Table::open(file.to_str().unwrap()).await.unwrap();
    assert_eq!(table.put("U+1F980", "KING CRAB").await.unwrap().version, 2);
    assert_eq!(table.put("U+0378", "NEW").await.unwrap().version, 1);
    let rows = table.count().await.unwrap();
    table.close().await;

    let table = Table::open(file.to_str().unwrap()).await.unwrap();
    assert_eq!(table.get("U+1F980").await.unwrap().unwrap().name, "KING CRAB");
    assert_eq!(table.count().await.unwrap(), rows, "an open that finds rows fills nothing");
}

#[tokio::test]
async fn a_connection_that_closes_takes_no_rows_along() {
    let table = Table::open(":memory:").await.unwrap();
    table.pool.acquire().await.unwrap().close().await.unwrap();
    assert_eq!(table.get("U+1F980").await.unwrap().unwrap().name, "CRAB");
}
