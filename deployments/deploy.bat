@echo off
rem Everything is in "python -m deployments setup"; this only finds the Python of the checkout.
cd /d "%~dp0.." || exit /b 1
set python=python
if exist .venv\Scripts\python.exe set python=.venv\Scripts\python.exe
"%python%" -m deployments setup %*
