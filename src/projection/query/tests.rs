//! Does a query answer as a plain filter and sort would?
