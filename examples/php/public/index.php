<?php
// A front controller: every path that names no file below this directory comes
// here. headgate fastcgi+unix:/run/php/php-fpm.sock --root examples/php/public
header('Content-Type: text/plain; charset=utf-8');
$name = $_POST['name'] ?? $_GET['name'] ?? 'world';
echo "Hello $name from PHP at {$_SERVER['REQUEST_URI']}\n";
