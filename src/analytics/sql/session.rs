//! Over which tables, with which functions and in which surroundings is a query planned?

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::catalog::CatalogProvider;
use datafusion::catalog::MemoryCatalogProvider;
use datafusion::catalog::MemoryCatalogProviderList;
use datafusion::catalog::MemorySchemaProvider;
use datafusion::catalog::SchemaProvider;
use datafusion::catalog::TableProvider;
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::SessionStateDefaults;
use datafusion::execution::disk_manager::DiskManagerBuilder;
use datafusion::execution::disk_manager::DiskManagerMode;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::object_store::ObjectStoreRegistry;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::ScalarUDF;
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::object_store::ObjectStore;
use datafusion::object_store::memory::InMemory;
use datafusion::prelude::SessionConfig;
use reqwest::Url;

use super::arrows::Arrows;
use super::engine::Running;
use super::guard;

/// The tables that a query names, under their schemas and names as the plan looks for them.
pub(in crate::analytics) type Tables = Vec<(&'static str, String, Arc<dyn TableProvider>)>;

/// All functions, and nothing that reads or makes files.
pub(super) fn functions() -> Result<SessionState> {
    let mut planners: Vec<Arc<dyn ExprPlanner>> = vec![Arc::new(Arrows)];
    planners.extend(SessionStateDefaults::default_expr_planners());
    let mut state = SessionStateBuilder::new()
        .with_expr_planners(planners)
        .with_scalar_functions(scalar_functions())
        .with_higher_order_functions(SessionStateDefaults::default_higher_order_functions())
        .with_aggregate_functions(SessionStateDefaults::default_aggregate_functions())
        .with_window_functions(SessionStateDefaults::default_window_functions())
        .with_table_function_list(SessionStateDefaults::default_table_functions())
        .build();
    datafusion_functions_json::register_all(&mut state)?;
    Ok(state)
}

fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    let mut functions = SessionStateDefaults::default_scalar_functions();
    functions.retain(|function| !guard::is_taken_out(function.name()));
    functions
}

/// The memory and the disk of all queries. No place outside can be reached.
pub(super) fn environment(pool: Arc<dyn MemoryPool>, spill: Option<&PathBuf>, spill_bytes: u64) -> Result<Arc<RuntimeEnv>> {
    let mode = spill.map_or(DiskManagerMode::OsTmpDirectory, |folder| DiskManagerMode::Directories(vec![folder.clone()]));
    let disk = DiskManagerBuilder::default().with_mode(mode).with_max_temp_directory_size(spill_bytes);
    RuntimeEnvBuilder::new()
        .with_memory_pool(pool)
        .with_disk_manager_builder(disk)
        .with_object_store_registry(Arc::new(Nowhere))
        .build_arc()
}

/// What one query is planned in.
pub(super) fn state(running: &Running, tables: Tables, threads: usize, batch_rows: usize) -> Result<SessionState> {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(false)
        .with_target_partitions(threads)
        .with_batch_size(batch_rows);
    let options = config.options_mut();
    options.sql_parser.collect_spans = true;
    options.execution.parquet.pushdown_filters = true;
    options.execution.parquet.reorder_filters = true;
    // Small ones are read by the same threads that would plan them apart.
    options.execution.planning_concurrency = 1;
    let catalog = MemoryCatalogProvider::new();
    let mut schemas: BTreeMap<&str, Arc<MemorySchemaProvider>> = BTreeMap::new();
    schemas.entry(SCHEMA).or_default();
    for (schema, name, table) in tables {
        schemas.entry(schema).or_default().register_table(name, table)?;
    }
    for (name, schema) in schemas {
        catalog.register_schema(name, schema)?;
    }
    let catalogs = MemoryCatalogProviderList::new();
    datafusion::catalog::CatalogProviderList::register_catalog(&catalogs, CATALOG.to_owned(), Arc::new(catalog));
    let state = SessionStateBuilder::new_from_existing(running.functions.clone())
        .with_config(config)
        .with_runtime_env(Arc::clone(&running.environment))
        .with_catalog_list(Arc::new(catalogs))
        .build();
    Ok(state)
}

/// Leads to no files: tables bring their own.
#[derive(Debug)]
struct Nowhere;

impl ObjectStoreRegistry for Nowhere {
    fn register_store(&self, _url: &Url, _store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        None
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        if url.as_str() == LAKE {
            // Files of lakes bring where they are: nothing is looked for here.
            return Ok(Arc::new(InMemory::new()));
        }
        Err(DataFusionError::Plan(format!("{url} can't be reached from a query")))
    }
}

impl fmt::Display for Nowhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nowhere")
    }
}

/// Where the plan thinks that the files of lakes are.
pub(in crate::analytics) const LAKE: &str = "lake://files/";
const CATALOG: &str = "factum";
const SCHEMA: &str = "public";
