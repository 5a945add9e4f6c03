"""report.html: a study on one page that opens offline. `from fit.views.page.page import page`"""
