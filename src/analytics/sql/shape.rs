//! Is a statement of a shape that a plan can be made of in time?
//!
//! Nothing can stop the engine while it makes a plan. That takes a time that grows with the square of how deep an expression is and of how
//! many queries are put together, doubles with every query inside of an expression, and grows faster still with tables that are joined. So
//! there is an end to each of them, far beyond what anybody writes, and below a second.

use std::collections::HashMap;
use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::BinaryOperator;
use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::ast::GroupByExpr;
use datafusion::sql::sqlparser::ast::Query;
use datafusion::sql::sqlparser::ast::Select;
use datafusion::sql::sqlparser::ast::Statement;
use datafusion::sql::sqlparser::ast::TableFactor;
use datafusion::sql::sqlparser::ast::Visit;
use datafusion::sql::sqlparser::ast::Visitor;

/// What was seen of a statement.
#[derive(Default)]
pub(super) struct Shape {
    /// The names of functions that stand where tables do.
    pub(super) functions: HashSet<String>,
    depth: usize,
    arrows: usize,
    subqueries: usize,
    /// For each query that is being looked at, the outermost first.
    queries: Vec<Seen>,
    /// For each name of a WITH that can be used here, how many parts it stands for.
    names: HashMap<String, usize>,
}

/// What was seen of a query.
#[derive(Default)]
struct Seen {
    /// How many SELECTs there are in it and how many tables it reads, with every name of a WITH put in.
    parts: usize,
    /// The queries of its WITH, by where they are, and their names.
    with: Vec<(*const Query, String)>,
    /// What the names of its WITH meant before.
    before: Vec<(String, Option<usize>)>,
}

impl Shape {
    /// The shape of a statement.
    ///
    /// # Errors
    ///
    /// What there is too much of.
    pub(super) fn of(statement: &Statement) -> Result<Self, String> {
        let mut shape = Self::default();
        match statement.visit(&mut shape) {
            ControlFlow::Continue(()) => Ok(shape),
            ControlFlow::Break(detail) => Err(detail),
        }
    }

    /// Counts parts of the query that is being looked at.
    fn add(&mut self, parts: usize) {
        if let Some(query) = self.queries.last_mut() {
            query.parts = query.parts.saturating_add(parts);
        }
    }
}

impl Visitor for Shape {
    type Break = String;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<String> {
        self.depth += 1;
        self.arrows += usize::from(is_arrow(expr));
        self.subqueries += usize::from(is_query(expr));
        if self.depth > DEPTH_MAX {
            return ControlFlow::Break(format!(
                "has an expression of more than {DEPTH_MAX} operators in a row or inside of each other; many values belong into IN (…)"
            ));
        }
        if self.arrows > ARROWS_MAX {
            return ControlFlow::Break(format!("has a path of more than {ARROWS_MAX} steps (->)"));
        }
        if self.subqueries > SUBQUERIES_MAX {
            return ControlFlow::Break(format!(
                "has more than {SUBQUERIES_MAX} queries inside of each other's expressions; use joins or WITH"
            ));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<String> {
        self.depth -= 1;
        self.arrows -= usize::from(is_arrow(expr));
        self.subqueries -= usize::from(is_query(expr));
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<String> {
        if grouping_sets(&select.group_by) > GROUPING_SETS_MAX {
            return ControlFlow::Break(format!("groups in more than {GROUPING_SETS_MAX} ways at once (CUBE, ROLLUP, GROUPING SETS)"));
        }
        self.add(1);
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<String> {
        let ctes = query.with.iter().flat_map(|with| &with.cte_tables);
        let with = ctes.map(|cte| (std::ptr::from_ref(&*cte.query), cte.alias.name.value.to_lowercase())).collect();
        self.queries.push(Seen { with, ..Seen::default() });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<String> {
        let Some(Seen { parts, before, .. }) = self.queries.pop() else { return ControlFlow::Continue(()) };
        for (name, meaning) in before.into_iter().rev() {
            match meaning {
                Some(parts) => self.names.insert(name, parts),
                None => self.names.remove(&name),
            };
        }
        let Some(outer) = self.queries.last_mut() else { return ControlFlow::Continue(()) };
        let name = outer.with.iter().find(|(of, _)| std::ptr::eq(*of, query)).map(|(_, name)| name.clone());
        match name {
            Some(name) => {
                let meaning = self.names.insert(name.clone(), parts.max(1));
                outer.before.push((name, meaning));
            }
            None => self.add(parts),
        }
        if parts > PARTS_MAX {
            return ControlFlow::Break(format!(
                "has more than {PARTS_MAX} SELECTs and tables, each as often as its WITH is named; ask in several queries"
            ));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<String> {
        let TableFactor::Table { name, args, .. } = factor else { return ControlFlow::Continue(()) };
        let Some(last) = name.0.last().and_then(|part| part.as_ident()) else { return ControlFlow::Continue(()) };
        if args.is_some() {
            self.functions.insert(last.value.clone());
        }
        self.add(self.names.get(&last.value.to_lowercase()).copied().filter(|_| name.0.len() == 1).unwrap_or(1));
        ControlFlow::Continue(())
    }
}

fn is_query(expr: &Expr) -> bool {
    matches!(expr, Expr::Subquery(_) | Expr::InSubquery { .. } | Expr::Exists { .. })
}

fn is_arrow(expr: &Expr) -> bool {
    matches!(expr, Expr::BinaryOp { op: BinaryOperator::Arrow | BinaryOperator::LongArrow, .. })
}

/// In how many ways the rows are grouped.
fn grouping_sets(group_by: &GroupByExpr) -> usize {
    let GroupByExpr::Expressions(expressions, modifiers) = group_by else { return 1 };
    let power = |count: usize| u32::try_from(count).ok().and_then(|count| 2_usize.checked_pow(count)).unwrap_or(usize::MAX);
    let sets = |expr: &Expr| match expr {
        Expr::Cube(sets) => power(sets.len()),
        Expr::Rollup(sets) => sets.len() + 1,
        Expr::GroupingSets(sets) => sets.len(),
        _ => 1,
    };
    let whole = if modifiers.is_empty() { 1 } else { power(expressions.len()) };
    expressions.iter().map(sets).fold(whole, usize::saturating_mul)
}

/// How deep an expression may be. A row of `AND` is as deep as it is long.
const DEPTH_MAX: usize = 500;
/// How many steps a path may have.
const ARROWS_MAX: usize = 64;
/// How deep queries may stand in expressions of each other.
const SUBQUERIES_MAX: usize = 8;
/// How many SELECTs and tables there may be, in whatever place.
const PARTS_MAX: usize = 400;
const GROUPING_SETS_MAX: usize = 256;
