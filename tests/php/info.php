<?php
echo 'script ', $_SERVER['SCRIPT_NAME'], ' info ', $_SERVER['PATH_INFO'] ?? '';
