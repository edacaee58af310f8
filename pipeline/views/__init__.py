"""What people look at: tables, plots and HTML pages."""
