"""report.html: a study on one page that opens offline. `from fit.page.page import page`"""
