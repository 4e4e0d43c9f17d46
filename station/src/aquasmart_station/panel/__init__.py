"""The technician's page: Flask, and nothing else that is not pure display. Facts come from services/panel_view.py."""
